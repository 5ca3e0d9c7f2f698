"""Where Triton's kernels can run, and what is said where they cannot."""

import re
import subprocess
import sys

import pytest
import torch

from fastsnn import _env, _triton


@pytest.fixture(autouse=True)
def afresh():
    _triton.reason.cache_clear()
    yield
    _triton.reason.cache_clear()


def installed(monkeypatch, version):
    def answer(name):
        if version is None:
            raise _triton.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(_triton, "version", answer)


def test_without_triton_it_says_what_to_install(monkeypatch):
    installed(monkeypatch, None)
    assert 'pip install "fastsnn[triton]"' in _triton.reason()


@pytest.mark.parametrize("version", ["2.3.1", "3.4.0"])
def test_an_old_triton_is_named_with_the_one_that_is_needed(monkeypatch, version):
    installed(monkeypatch, version)
    assert _triton.reason() == f"triton 3.5 or newer is needed, {version} is installed: pip install -U triton"


def test_without_a_gpu(monkeypatch):
    installed(monkeypatch, "3.6.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(_env, "TRITON_INTERPRET", False)
    assert "sees no NVIDIA GPU" in _triton.reason()
    _triton.reason.cache_clear()
    monkeypatch.setattr(_env, "TRITON_INTERPRET", True)
    assert _triton.reason() is None


def test_an_interpreted_kernel_runs_only_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(_env, "TRITON_INTERPRET", True)
    for forced, able in ((None, False), ("native", False), ("triton", True)):
        monkeypatch.setattr(_env, "BACKEND", forced)
        assert (_triton.refuse(torch.zeros(1)) is None) == able
    monkeypatch.setattr(_env, "TRITON_INTERPRET", False)
    assert _triton.refuse(torch.zeros(1)) == "the tensor is on cpu"


class OnGpu:
    """A tensor on a GPU, as far as it is looked at."""

    device, is_cuda, dtype = torch.device("cuda", 0), True, torch.float32


def test_a_gpu_that_is_too_old_is_named(monkeypatch):
    for capability, able in (((7, 5), False), ((8, 0), True), ((9, 0), True), ((12, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        why = _triton.refuse(OnGpu())
        assert (why is None) == able
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert _triton.refuse(OnGpu()) == "compute capability 8.0 or newer is needed, cuda:0 has 7.5"


@pytest.mark.parametrize(
    "weight, match",
    [
        (torch.zeros(2, 3, dtype=torch.float64), "no kernel for float64"),
        (torch.zeros(2, 2**15 + 1, dtype=torch.int32), "up to 32768 terms.* got 32769"),
    ],
)
def test_layers_that_no_kernel_takes(weight, match, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert re.search(match, _triton.refuse_layer(OnGpu(), weight))
    assert _triton.refuse_layer(OnGpu(), torch.zeros(2, 2**15, dtype=torch.int32)) is None


def test_calls_on_the_cpu_import_no_kernels():
    program = """
import sys, torch
from fastsnn.ops.if_steps import if_steps
if_steps(torch.ones(4, 3))
print([name for name in sys.modules if name.startswith("fastsnn") and name.endswith(("triton", "kernel"))])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "['fastsnn._triton']", result.stderr
