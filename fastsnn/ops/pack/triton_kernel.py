"""The pack family in Triton: each neuron's spikes or word read once, its word or spikes written once."""

# what a kernel works on has no types of Python's

from math import gcd

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _triton
from fastsnn.ops._neuron_kernel import popcount, unsigned
from fastsnn.spikes import word_dtype

THREADS = 128


@triton.jit(do_not_specialize=["units"])
def _pack_kernel(spikes, words, units, UNIT: tl.constexpr, T: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    count = units.to(tl.int64) * UNIT
    inside = at < count
    word = tl.zeros([BLOCK], tl.int32)
    for t in tl.static_range(T):
        word |= (tl.load(spikes + t * count + at, mask=inside, other=0) != 0).to(tl.int32) << t
    tl.store(words + at, word.to(words.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["units"])
def _unpack_kernel(words, spikes, units, UNIT: tl.constexpr, T: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    count = units.to(tl.int64) * UNIT
    inside = at < count
    word = tl.load(words + at, mask=inside, other=0)
    for t in tl.static_range(T):
        tl.store(spikes + t * count + at, ((word >> t) & 1).to(tl.uint8), mask=inside)


@triton.jit(do_not_specialize=["units"])
def _counts_kernel(words, counts, units, UNIT: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < units.to(tl.int64) * UNIT
    tl.store(counts + at, popcount(unsigned(tl.load(words + at, mask=inside, other=0))), mask=inside)


def pack(spikes: Tensor) -> Tensor:
    T, *shape = spikes.shape
    words = torch.empty(shape, dtype=word_dtype(T), device=spikes.device)
    # the spikes of 16 neurons are one load, but those of many steps, all on their way, need too many registers
    _launch(_pack_kernel, words, spikes, words, 16 if T <= 16 else 8, T=T)
    return words


def unpack(words: Tensor, T: int) -> Tensor:
    spikes = torch.empty((T, *words.shape), dtype=torch.uint8, device=words.device)
    _launch(_unpack_kernel, words, words, spikes, 16, T=T)
    return spikes


def counts(words: Tensor) -> Tensor:
    counts = torch.empty(words.shape, dtype=torch.int32, device=words.device)
    _launch(_counts_kernel, words, words, counts, 16)
    return counts


def _launch(kernel: triton.JITFunction, words: Tensor, x: Tensor, out: Tensor, each: int, **constants: int) -> None:
    """The kernel over all neurons, as many of them `each` thread."""
    count, block = words.numel(), THREADS * each
    if not count:
        return
    # of one item of the batch, so that a batch of another size finds the kernel compiled
    unit = gcd(words.shape[1:].numel() if words.ndim > 1 else count, 16)
    with _triton.on(x):
        kernel[(triton.cdiv(count, block),)](
            x, out, count // unit, UNIT=unit, BLOCK=block, num_warps=THREADS // 32, **constants
        )
