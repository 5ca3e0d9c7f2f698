"""emit in CUDA."""

import torch
from torch import Tensor

from fastsnn import _cuda
from fastsnn.ops._repeated import repeated
from fastsnn.ops.emit.reference import key

BYTES = 16


def emit(words: Tensor, v: Tensor, threshold: Tensor, T: int, kind: str, seed: int) -> Tensor:
    count, theta, out = words.numel(), repeated(threshold, words.shape), torch.empty_like(words)
    if not count:
        return out
    addresses = [_cuda.address(x) for x in (words, v, theta, out)]
    # a thread's potentials are read at once; its words take less
    n = BYTES // v.element_size()
    n = n if _cuda.divides(n, count) and _cuda.divides(BYTES, *addresses[:2], addresses[3]) else 1
    run = instance(v.dtype, words.dtype, n, kind == "random")
    values = (*addresses, count, T, max(theta.numel(), 1), key(seed))
    _cuda.launch(run, (_cuda.blocks(count, run.threads * n),), values, words)
    return out


def instance(values: torch.dtype, words: torch.dtype, n: int, random: bool) -> _cuda.Kernel:
    """The kernel for a type of numbers and of words; n neurons a thread."""
    arguments = ", ".join([_cuda.TYPES[values], _cuda.WORDS[words], str(n), str(random).lower()])
    return _cuda.Kernel("emit/emit.cu", f"emit<{arguments}>", "EmitCall", "<8q", blocks=3)
