# The daily commands. Each makes what it lacks in .venv, and nothing when nothing changed.
#
#   make demo PYTHON=python3.12             another interpreter for .venv (when it is first made)
#   make test ARGS="-k pack"                arguments for pytest
#   make test WORKERS=0                     in one process, which a debugger needs
#   make test FASTSNN_NATIVE_MODULE=0       without a C++ compiler: the reference backend only

PYTHON ?= python3
ARGS ?=
WORKERS ?= auto
FASTSNN_NATIVE_MODULE ?= 1
export FASTSNN_NATIVE_MODULE

VENV := .venv
BIN := $(VENV)/bin
# a process a core, each with whole files, which share what is compiled; each takes a GB
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
CSRC := $(shell find csrc -type f)
# those of GPU kernels are compiled when they run
BUILT_FROM := $(filter-out %.cu %.cuh csrc/emulator/%,$(CSRC))

# Stamps: a file that is newer than everything its step depends on. The built one names the kind of build, so that
# changing FASTSNN_NATIVE_MODULE builds anew.
CREATED := $(VENV)/.created
BUILT := $(VENV)/.built-$(FASTSNN_NATIVE_MODULE)

.DEFAULT_GOAL := help
.PHONY: help demo test bench peers tables gpu sanitize lint clean
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.extra-demo  ## convert a network and run it: `fastsnn demo`
	@$(BIN)/fastsnn demo

test: $(VENV)/.extra-test $(VENV)/.libraries  ## all tests; ARGS="-k pack" for some
	@$(PYTEST) $(ARGS)

bench: $(VENV)/.extra-test $(VENV)/.extra-peers  ## times, appended to benchmarks/results; the README's table
	@$(BIN)/python -m pytest benchmarks --benchmark-only $(ARGS)
	@$(BIN)/python benchmarks/table.py

peers: $(VENV)/.extra-test $(VENV)/.extra-peers  ## times beside SpikingJelly, snnTorch, Norse, sinabs; ARGS=--check for none
	@$(BIN)/python benchmarks/peers/run.py $(ARGS)

# fetched where it is absent
DATA ?= cifar10:build/cifar10

tables: $(VENV)/.extra-test  ## the paper's tables, published beside measured; DATA=cifar10:DIR, ARGS="--weights FILE"
	@mkdir -p build
	@$(BIN)/fastsnn reproduce opi-cifar10 --data $(DATA) $(if $(filter cifar10:%,$(DATA)),--download) --out build/tables $(ARGS)

# make, by a name with which --dry-run does not run the line that it is in.
AGAIN := $(MAKE)

# A GPU that is lent for minutes comes with PyTorch and without a network: an interpreter that has all is used as it is.
gpu:  ## GPU tests and benchmarks, under ten minutes; PYTHON=python3 as it is if it has PyTorch, OUT=folder for copies
	@if $(PYTHON) -c 'import hypothesis, numpy, pytest, rich, safetensors, torch, tqdm, triton' 2>/dev/null; then \
	    python=$(PYTHON); build=; \
	    if [ "$(FASTSNN_NATIVE_MODULE)" != 0 ] && $(PYTHON) -c 'import pybind11, setuptools' 2>/dev/null; then \
	        for c in $$CXX g++ c++ clang++; do command -v "$$c" >/dev/null && build=--build; done; \
	    fi; \
	else \
	    $(AGAIN) --no-print-directory $(VENV)/.extra-test || exit; \
	    python=$(BIN)/python; build=; \
	fi; \
	$$python benchmarks/gpu/run.py $$build --out "$$OUT" $(ARGS)

# A second copy of the package, whose C++ watches its memory, and emulated CUDA kernels theirs; Python itself is not built
# so, hence the preloading. Triton's kernels are not C++: they are left out.
SANITIZED := build/sanitized
SANITIZERS = $(foreach lib,libasan.so libubsan.so,$(shell $${CXX:-g++} -print-file-name=$(lib)))

sanitize: $(VENV)/.extra-test  ## the C++ under AddressSanitizer and UndefinedBehaviorSanitizer
	@rm -rf $(SANITIZED)
	@FASTSNN_SANITIZE=1 $(PIP) --no-deps --target $(SANITIZED) .
	@TRITON_INTERPRET=0 FASTSNN_SANITIZE=1 PYTHONPATH=$(SANITIZED) LD_PRELOAD="$(SANITIZERS)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    $(PYTEST) tests/ops tests/test_native.py $(ARGS)

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
$(BUILT): $(CREATED) pyproject.toml setup.py constraints.txt $(BUILT_FROM)
	@[ "$(FASTSNN_NATIVE_MODULE)" = 0 ] || for c in $$CXX g++ c++ clang++ ""; do \
	    [ -n "$$c" ] || { echo "fastsnn: no C++ compiler found; install g++ or clang++, or run without the native" \
	    "module: make FASTSNN_NATIVE_MODULE=0 ..." >&2; exit 1; }; \
	    command -v "$$c" >/dev/null && break; done
	@echo "fastsnn: building and installing into $(VENV) (the first time with PyTorch: some minutes, some GB)"
	@rm -f fastsnn/_cpu*.so $(VENV)/.built-*
	@$(PIP) --editable .
	@touch $@

# fastsnn itself is installed by now: this adds what the extra needs and builds nothing.
$(VENV)/.libraries: tests/libraries.txt | $(VENV)/.extra-test
	@$(PIP) --no-deps --requirement $< || echo "fastsnn: the libraries of $< were not installed: their tests are skipped"
	@touch $@

$(VENV)/.extra-%: pyproject.toml constraints.txt | $(BUILT)
	@echo "fastsnn: adding what fastsnn[$*] needs to $(VENV)"
	@$(PIP) "fastsnn[$*]"
	@touch $@
