"""Whether Triton's kernels can run here, and if not, why not; nothing imports triton before a kernel runs."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

from fastsnn import _env, _gpu

# the oldest that compiles the kernels: 3.4 does not end on functions that call themselves
LEAST_VERSION = (3, 5)
# the oldest GPUs with the tensor-core instructions that they are compiled to
LEAST_CAPABILITY = (8, 0)


def unfit() -> str | None:
    """Why the Triton that is installed, if any, does not do, or None; whether there is a GPU does not matter."""
    try:
        have = version("triton")
    except PackageNotFoundError:
        return 'triton is not installed: pip install "fastsnn[triton]" (Linux), or choose another backend'
    if tuple(map(int, have.split(".")[:2])) < LEAST_VERSION:
        wanted = ".".join(map(str, LEAST_VERSION))
        return f"triton {wanted} or newer is needed, {have} is installed: pip install -U triton"
    return None


@cache
def reason() -> str | None:
    """Why no kernel can run on this machine, or None; asked at every call, and answered once a process."""
    if why := unfit():
        return why
    if not _env.TRITON_INTERPRET and not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU here (TRITON_INTERPRET=1 runs the kernels on the CPU, slowly, for tests)"
    return None


def refuse(x: Tensor, *_: Tensor) -> str | None:
    """Why the kernels do not take a call on this tensor, or None."""
    if x.device.type == "cpu" and _env.TRITON_INTERPRET:
        # an interpreted kernel is thousands of times slower than the other backends: only who asks for it gets it
        return (
            None if _env.BACKEND == "triton" else "interpreted kernels run where FASTSNN_BACKEND=triton asks for them"
        )
    if x.device.type != "cuda":
        return f"the tensor is on {x.device}"
    return _gpu.too_old(x.device, LEAST_CAPABILITY)


def refuse_layer(words: Tensor, weight: Tensor) -> str | None:
    """Why no kernel takes a layer with these words and weights, or None."""
    if weight.dtype == torch.float64:
        return "there is no kernel for float64"
    if weight.dtype == torch.int32 and weight[0].numel() > 2**15:
        return f"sums of int32 weights may have up to {2**15} terms, to fit 32 bits in parts; got {weight[0].numel()}"
    return refuse(words)


def on(x: Tensor) -> AbstractContextManager:
    """Makes the tensor's GPU the current one, which is where Triton launches; nothing for interpreted kernels."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
