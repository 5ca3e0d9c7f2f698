# The daily commands. Each makes what it lacks in .venv, and nothing when nothing changed.
#
#   make demo PYTHON=python3.12             another interpreter for .venv (when it is first made)
#   make test ARGS="-k pack"                arguments for pytest
#   make test FASTSNN_NATIVE_MODULE=0       without a C++ compiler: the reference backend only

PYTHON ?= python3
ARGS ?=
FASTSNN_NATIVE_MODULE ?= 1
export FASTSNN_NATIVE_MODULE

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
CSRC := $(shell find csrc -type f)

# Stamps: a file that is newer than everything its step depends on. The built one names the kind of build, so that
# changing FASTSNN_NATIVE_MODULE builds anew.
CREATED := $(VENV)/.created
BUILT := $(VENV)/.built-$(FASTSNN_NATIVE_MODULE)

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint clean
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.extra-demo  ## convert a network and run it: `fastsnn demo`
	@$(BIN)/fastsnn demo

test: $(VENV)/.extra-test  ## all tests; ARGS="-k pack" for some
	@$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/.extra-test  ## time against the dense network; appends rows to benchmarks/results
	@$(BIN)/python -m pytest benchmarks --benchmark-only $(ARGS)

lint: $(VENV)/.extra-dev  ## ruff, mypy, clang-format; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy fastsnn
	$(BIN)/clang-format --dry-run -Werror $(CSRC)

clean:  ## remove .venv and everything that was built
	rm -rf $(VENV) build dist demo-out *.egg-info .pytest_cache .hypothesis .benchmarks .ruff_cache .mypy_cache
	rm -f fastsnn/_cpu*.so
	find fastsnn tests $(wildcard benchmarks examples) -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@command -v $(PYTHON) >/dev/null || { echo "fastsnn: no $(PYTHON) found; it needs Python 3.10 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and \
	    "fastsnn: needs Python 3.10 or newer, $(PYTHON) is %d.%d; choose another: make PYTHON=python3.12 ..." % v[:2])'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# A native module of an earlier build would still be imported after a build without one.
$(BUILT): $(CREATED) pyproject.toml setup.py constraints.txt $(CSRC)
	@[ "$(FASTSNN_NATIVE_MODULE)" = 0 ] || for c in $$CXX g++ c++ clang++ ""; do \
	    [ -n "$$c" ] || { echo "fastsnn: no C++ compiler found; install g++ or clang++, or run without the native" \
	    "module: make FASTSNN_NATIVE_MODULE=0 ..." >&2; exit 1; }; \
	    command -v "$$c" >/dev/null && break; done
	@echo "fastsnn: building and installing into $(VENV) (the first time with PyTorch: some minutes, some GB)"
	@rm -f fastsnn/_cpu*.so $(VENV)/.built-*
	@$(PIP) --editable .
	@touch $@

# fastsnn itself is installed by now: this adds what the extra needs and builds nothing.
$(VENV)/.extra-%: pyproject.toml constraints.txt | $(BUILT)
	@echo "fastsnn: adding what fastsnn[$*] needs to $(VENV)"
	@$(PIP) "fastsnn[$*]"
	@touch $@
