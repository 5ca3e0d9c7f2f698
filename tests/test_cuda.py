"""Where CUDA kernels can run, what is said where they cannot, and how they are put together and launched."""

import os
import struct
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy
import pytest
import torch

from fastsnn import _cuda, _env, _gpu
from fastsnn.errors import BackendUnavailable
from fastsnn.ops import _neurons_cuda
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.pool import pool_counts


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    monkeypatch.setattr(_cuda, "EMULATOR", None)
    _cuda._absent.cache_clear()
    yield
    _cuda._absent.cache_clear()


# --- where they run


def test_without_cupy_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(_cuda, "find_spec", lambda name: None)
    assert 'pip install "fastsnn[cuda]"' in _cuda.reason()


def test_without_a_gpu_cupy_is_not_imported(monkeypatch):
    monkeypatch.setattr(_cuda, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(_cuda, "import_module", lambda name: pytest.fail(f"{name} is imported"))
    assert _cuda.reason() == "torch sees no NVIDIA GPU here"


@pytest.mark.parametrize("error", [ImportError("libcudart.so is missing"), OSError("no such file"), RuntimeError("no")])
def test_a_cupy_that_does_not_load_says_why(monkeypatch, error):
    def broken(name):
        raise error

    monkeypatch.setattr(_cuda, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(_cuda, "import_module", broken)
    assert str(error) in _cuda.reason() and "pip install nvidia-cuda-nvrtc" in _cuda.reason()


def test_emulated_kernels_run_only_where_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(_cuda, "EMULATOR", lambda *_: None)
    assert _cuda.reason() is None
    for forced, able in ((None, False), ("native", False), ("cuda", True)):
        monkeypatch.setattr(_env, "BACKEND", forced)
        assert (_cuda.refuse(torch.zeros(1)) is None) == able
    monkeypatch.setattr(_cuda, "EMULATOR", None)
    assert _cuda.refuse(torch.zeros(1)) == "the tensor is on cpu"
    with pytest.raises(BackendUnavailable, match="CUDA kernels do not run on cpu"):
        _cuda.launch(_neurons_cuda.instance(torch.float32, torch.uint8, 1, True), (1,), [0] * 16, torch.zeros(1))


class OnGpu:
    """A tensor on a GPU, as far as it is looked at."""

    device, is_cuda, dtype = torch.device("cuda", 1), True, torch.float32


def test_a_gpu_that_is_too_old_is_named(monkeypatch):
    for capability, able in (((7, 0), False), ((7, 5), True), ((9, 0), True), ((12, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        why = _cuda.refuse(OnGpu())
        assert (why is None) == able
        assert able or why == "compute capability 7.5 or newer is needed, cuda:1 has 7.0"


def test_calls_on_the_cpu_import_neither_cupy_nor_kernels():
    program = """
import sys, torch
from fastsnn.ops.if_steps import if_steps
import fastsnn
if_steps(torch.ones(4, 3))
fastsnn.convert(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()), torch.rand(8, 3))(torch.rand(1, 3))
names = [n for n in sys.modules if n.split(".")[0] == "cupy" or n.startswith("fastsnn") and n.endswith("_cuda")]
print(sorted(names))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    # the drivers of layers know of CUDA; nothing that runs there is imported
    assert result.stdout.strip() == "['fastsnn._cuda']", result.stderr


@pytest.mark.parametrize("cupy", ["raise ImportError('no cupy here')", "raise RuntimeError('no driver')", ""])
def test_everything_on_the_cpu_works_whatever_cupy_does(cupy, tmp_path):
    """Absent or broken, however it breaks: a module of its name comes first on the path."""
    (tmp_path / "cupy.py").write_text(cupy)
    program = """
import torch, fastsnn
from fastsnn import _registry
from fastsnn.ops.pack import pack, unpack
spikes = (torch.rand(5, 7) < 0.5).to(torch.uint8)
assert torch.equal(unpack(pack(spikes), 5), spikes)
print(dict(_registry.table())["pack"]["cuda"])
"""
    before = os.environ.get("PYTHONPATH")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), before]))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    if not torch.cuda.is_available():
        assert done.stdout.strip() == "torch sees no NVIDIA GPU here"


# --- what is compiled


def test_a_source_has_its_headers_once_and_its_own_lines():
    text = _cuda.source("layer/layer.cu")
    assert '#include "' not in text and "#pragma once" not in text
    assert text.count("struct Window {") == text.count("struct Step {") == 1
    lines = text.splitlines()
    own = (_cuda.folder() / "layer" / "layer.cu").read_text().splitlines()
    # after a header, the number of the line that follows
    after = [i for i, line in enumerate(lines) if line == '#line 9 "layer/layer.cu"' or '"layer/layer.cu"' in line][-1]
    number = int(lines[after].split()[1])
    assert lines[after + 1] == own[number - 1]


def test_the_text_of_a_kernel_tells_its_size_and_name():
    kernel = _neurons_cuda.instance(torch.int32, torch.int16, 4, False)
    assert kernel.function == "neurons<int32_t, uint16_t, 4, false>"
    assert kernel.name == "fastsnn_neurons_int32_t_uint16_t_4_false"
    assert f"sizeof(NeuronCall) == {16 * 8}" in kernel.text and "__launch_bounds__(256, 3)" in kernel.text
    assert kernel == _neurons_cuda.instance(torch.int32, torch.int16, 4, False)


def test_grids_have_at_least_one_block_and_no_more_than_fit():
    assert [_cuda.blocks(n, 256) for n in (0, 1, 256, 257)] == [1, 1, 1, 2]
    assert _cuda.blocks(2**62, 256) == _cuda.MOST_BLOCKS


def test_lines_of_words_that_lie_apart():
    words = torch.zeros(2, 3, 16)
    assert _gpu.pitch(words) == 16 and _gpu.pitch(words[..., :5]) == 16
    assert _gpu.pitch(words[:1, :1, :5]) == 5 and _gpu.pitch(torch.zeros(7)) == 7
    assert _gpu.pitch(torch.zeros(())) == 1


# --- how it is launched, with CuPy stood in for


@pytest.fixture
def cupy(monkeypatch):
    """Records what CuPy would be asked to do, and what was current then."""
    seen = SimpleNamespace(launches=[], modules=[], devices=[], entered=[])

    class Device:
        def __init__(self, index):
            self.index = index

        def __enter__(self):
            seen.devices.append(self.index)

        def __exit__(self, *_):
            seen.entered.append(seen.devices.pop())

    class Function:
        def __init__(self, name):
            self.name = name

        @property
        def kernel(self):
            def launch(grid, block, args, shared_mem, stream):
                seen.launches.append((self.name, grid, block, args, shared_mem, stream, seen.devices[-1]))

            return launch

    class RawModule:
        def __init__(self, code, options):
            seen.modules.append((code, options))

        def get_function(self, name):
            return Function(name)

    cuda = SimpleNamespace(Device=Device, ExternalStream=lambda pointer: ("stream", pointer))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda, RawModule=RawModule))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=77))
    compiled = _cuda._compiled
    compiled.cache_clear()
    yield seen
    compiled.cache_clear()


def test_a_launch_goes_to_the_tensors_device_and_torchs_stream(cupy):
    kernel = _cuda.Kernel("pack/pack.cu", "counts<uint8_t, 1>", "PackCall", "<4q", 128)
    for _ in range(2):
        _cuda.launch(kernel, (3, 2), (11, 22, 1, 5), OnGpu(), shared=64)
    # compiled once, from all of its text
    [(code, options)] = cupy.modules
    assert code == kernel.text and options == ("-std=c++17", "--fmad=false")
    name, grid, block, (argument,), shared, stream, device = cupy.launches[0]
    assert (name, grid, block, shared) == ("fastsnn_counts_uint8_t_1", (3, 2), (128,), 64)
    assert stream == ("stream", 77) and device == 1
    # an array of one element, which CuPy passes by value
    assert isinstance(argument, numpy.ndarray) and argument.size == 1
    assert argument.tobytes() == struct.pack("<4q", 11, 22, 1, 5)
    # and what was current before is current again
    assert cupy.devices == [] and cupy.entered == [1, 1]


def test_a_failing_launch_leaves_the_current_device_as_it_was(cupy, monkeypatch):
    monkeypatch.setattr(_cuda, "_compiled", lambda kernel: SimpleNamespace())
    kernel = _cuda.Kernel("pack/pack.cu", "counts<uint8_t, 1>", "PackCall", "<4q")
    with pytest.raises(AttributeError):
        _cuda.launch(kernel, (1,), (0, 0, 1, 1), OnGpu())
    assert cupy.devices == []


# --- on a GPU

ON_A_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def on_gpu(monkeypatch):
    if why := _cuda.reason():
        pytest.skip(why)
    monkeypatch.setattr(_env, "BACKEND", "cuda")
    return torch.device("cuda", 0)


def currents(device, T=9, n=4099):
    return torch.randint(-6, 8, (T, n), device=device).float() / 8


@ON_A_GPU
def test_launches_are_recorded_in_a_cuda_graph(on_gpu):
    x = currents(on_gpu)
    # compiled and loaded before, which cannot be recorded
    if_steps(x, 1.0, 0.5)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        words, v = if_steps(x, 1.0, 0.5)
    x.copy_(-x)
    graph.replay()
    want = if_steps(x.cpu().to(on_gpu), 1.0, 0.5)
    assert torch.equal(words, want[0]) and torch.equal(v, want[1]) and words.any()


@ON_A_GPU
def test_launches_wait_for_the_stream_that_they_are_on_and_change_nothing_current(on_gpu):
    import cupy

    x, stream = currents(on_gpu), torch.cuda.Stream(on_gpu)
    want = if_steps(x, 1.0, 0.5)[0]
    before = cupy.cuda.get_current_stream(), cupy.cuda.Device().id, cupy.get_default_memory_pool().used_bytes()
    late = torch.zeros_like(x)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late.copy_(x)
        words = if_steps(late, 1.0, 0.5)[0]
    assert before == (
        cupy.cuda.get_current_stream(), cupy.cuda.Device().id, cupy.get_default_memory_pool().used_bytes(),
    )  # fmt: skip
    assert torch.cuda.current_stream(on_gpu) != stream
    stream.synchronize()
    assert torch.equal(words, want)


@ON_A_GPU
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_tensors_are_run_where_they_are(on_gpu):
    x = currents(torch.device("cuda", 1))
    words = if_steps(x, 1.0, 0.5)[0]
    assert words.device == x.device and torch.cuda.current_device() == 0
    assert torch.equal(words.cpu(), if_steps(x.to(on_gpu), 1.0, 0.5)[0].cpu())


@ON_A_GPU
def test_more_numbers_than_32_bits_count(on_gpu):
    free, _ = torch.cuda.mem_get_info()
    if free < 10 * 2**30:
        pytest.skip("needs 10 GiB of memory that are free")
    words = torch.zeros(1, 2**16, 2**16, 1, dtype=torch.uint8, device=on_gpu)
    words[0, -1, -2:, 0] = torch.tensor([255, 3], dtype=torch.uint8)
    found = pool_counts(words, 8, [2, 2])
    assert found.sum() == found[0, -1, -1, 0] == 8 + 2
