"""How CUDA kernels of csrc are compiled and launched, through CuPy, and if they cannot be, why not.

Nothing imports CuPy before it is known that there is a GPU. A kernel is compiled by NVRTC when it is first launched;
CuPy keeps what it compiled on disk. Tensors are handed over as addresses; launches go to PyTorch's current stream.
"""

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastsnn import _env, _gpu
from fastsnn.errors import BackendUnavailable

# the oldest GPUs that the run-time compiler of CUDA 13 compiles for
LEAST_CAPABILITY = (7, 5)
# a multiply-add that rounds once would give other spikes than every other backend
OPTIONS = ("-std=c++17", "--fmad=false")
# blocks that a grid has at most: kernels take what is left in further rounds
MOST_BLOCKS = 2**20

# what takes launches on tensors of the CPU, for tests: see fastsnn.testing.emulator
EMULATOR: "Callable[[Kernel, Sequence[int], bytes, int], None] | None" = None


@dataclass(frozen=True)
class Kernel:
    """One instance of a kernel template.

    file      in csrc;  function  the template with its arguments
    call      the struct that it takes, by value;  format  its fields for Python's struct module
    threads   of a block;  blocks  that a multiprocessor should hold at once, which bounds registers
    """

    file: str
    function: str
    call: str
    format: str
    threads: int = 256
    blocks: int = 1

    @property
    def name(self) -> str:
        """How profilers call it."""
        return "fastsnn_" + re.sub(r"\W+", "_", self.function).strip("_")

    @cached_property
    def text(self) -> str:
        """All that is compiled; headers are in it, so that what CuPy kept of an older version is never taken."""
        return (
            f"{source(self.file)}\n"
            "namespace fastsnn {\nnamespace device {\n"
            f'static_assert(sizeof({self.call}) == {struct.calcsize(self.format)}, "as Python packs it");\n'
            f'extern "C" __global__ void __launch_bounds__({self.threads}, {self.blocks})\n'
            f"{self.name}(const __grid_constant__ {self.call} call) {{\n    {self.function}(call);\n}}\n"
            "}  // namespace device\n}  // namespace fastsnn\n"
        )


def folder() -> Path:
    """Where the sources are: in an installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "_csrc"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "csrc"


@cache
def source(file: str) -> str:
    """A file of csrc with the headers that it includes by name, each once."""
    seen: set[str] = set()

    def read(name: str) -> str:
        seen.add(name)
        lines = [f'#line 1 "{name}"']
        for number, line in enumerate((folder() / name).read_text().splitlines(), 1):
            included = re.match(r'#include "(.+)"', line)
            if included is None:
                lines.append("" if line.startswith("#pragma once") else line)
            elif included[1] not in seen:
                lines += [read(included[1]), f'#line {number + 1} "{name}"']
        return "\n".join(lines)

    return read(file)


def reason() -> str | None:
    """Why no kernel can run on this machine, or None."""
    return None if EMULATOR is not None else _absent()


@cache
def _absent() -> str | None:
    """Asked at every call, and answered once a process."""
    if find_spec("cupy") is None:
        return 'cupy is not installed: pip install "fastsnn[cuda]" (of a name for another CUDA: cupy-cuda12x)'
    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU here"
    try:
        nvrtc = import_module("cupy.cuda.nvrtc")
        nvrtc.getVersion()
    except (ImportError, OSError, RuntimeError) as error:
        return f"cupy does not find CUDA's run-time compiler ({error}): pip install nvidia-cuda-nvrtc"
    return None


def refuse(x: Tensor, *_: Tensor) -> str | None:
    """Why the kernels do not take a call on this tensor, or None."""
    if x.device.type == "cpu" and EMULATOR is not None:
        # an emulated kernel is thousands of times slower than the other backends: only who asks for it gets it
        return None if _env.BACKEND == "cuda" else "emulated kernels run where FASTSNN_BACKEND=cuda asks for them"
    if x.device.type != "cuda":
        return f"the tensor is on {x.device}"
    return _gpu.too_old(x.device, LEAST_CAPABILITY)


def launch(kernel: Kernel, grid: Sequence[int], values: Sequence[float], on: Tensor, shared: int = 0) -> None:
    """Runs a kernel on the device of a tensor, on its current stream.

    grid    blocks, one number a dimension, all at least 1
    values  of the fields of the kernel's struct
    shared  bytes of shared memory a block
    """
    call = struct.pack(kernel.format, *values)
    if not on.is_cuda:
        if EMULATOR is None:
            raise BackendUnavailable(f"CUDA kernels do not run on {on.device}")
        EMULATOR(kernel, grid, call, shared)
        return
    import cupy
    import numpy

    # both libraries keep a current device of their own; both are as they were afterwards
    with torch.cuda.device(on.device), cupy.cuda.Device(on.device.index):
        stream = cupy.cuda.ExternalStream(torch.cuda.current_stream(on.device).cuda_stream)
        # an array of one element is passed by value
        argument = numpy.frombuffer(call, dtype=f"V{len(call)}")
        function = _compiled(kernel).kernel
        function(tuple(grid), (kernel.threads,), (argument,), shared_mem=shared, stream=stream)


@cache
def _compiled(kernel: Kernel) -> Any:
    """CuPy's kernel, which loads itself on every GPU that it is launched on."""
    import cupy

    return cupy.RawModule(code=kernel.text, options=OPTIONS).get_function(kernel.name)


def blocks(work: int, each: int) -> int:
    """Blocks of a grid whose threads go through `work` items, `each` of a block at a time."""
    return min(max(-(-work // each), 1), MOST_BLOCKS)


def address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


# what numbers of a dtype are called in csrc
TYPES = {
    torch.uint8: "uint8_t",
    torch.int8: "int8_t",
    torch.int16: "int16_t",
    torch.int32: "int32_t",
    torch.int64: "int64_t",
    torch.float32: "float",
    torch.float64: "double",
    torch.float16: "Half",
    torch.bfloat16: "BFloat",
}
# words are unsigned there: the bit of step 15 or 31 is a spike and not a sign
WORDS = {torch.uint8: "uint8_t", torch.int16: "uint16_t", torch.int32: "uint32_t"}


def divides(n: int, *values: int) -> bool:
    return all(value % n == 0 for value in values)
