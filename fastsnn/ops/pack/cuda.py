"""The pack family in CUDA: outputs allocated here, addresses handed to the kernels of csrc/pack/pack.cu."""

import torch
from torch import Tensor

from fastsnn import _cuda
from fastsnn.spikes import word_dtype


def pack(spikes: Tensor) -> Tensor:
    T, *shape = spikes.shape
    words = torch.empty(shape, dtype=word_dtype(T), device=spikes.device)
    _run("pack", words, spikes, words, T)
    return words


def unpack(words: Tensor, T: int) -> Tensor:
    spikes = torch.empty((T, *words.shape), dtype=torch.uint8, device=words.device)
    _run("unpack", words, words, spikes, T)
    return spikes


def counts(words: Tensor) -> Tensor:
    counts = torch.empty(words.shape, dtype=torch.int32, device=words.device)
    _run("counts", words, words, counts, 1)
    return counts


def _run(function: str, words: Tensor, x: Tensor, out: Tensor, T: int) -> None:
    count = words.numel()
    if not count:
        return
    # every row of spikes begins where 16 bytes may be read; words are read or written as many at a time
    n = 16 if _cuda.divides(16, count, x.data_ptr(), out.data_ptr()) else 1
    kernel = instance(function, words.dtype, n)
    _cuda.launch(kernel, (_cuda.blocks(count, kernel.threads * n),), (x.data_ptr(), out.data_ptr(), T, count), x)


def instance(function: str, words: torch.dtype, n: int) -> _cuda.Kernel:
    """The kernel for a type of words; n neurons a thread."""
    return _cuda.Kernel("pack/pack.cu", f"{function}<{_cuda.WORDS[words]}, {n}>", "PackCall", "<4q", blocks=3)
