"""emit in Triton: one pass over words and potentials."""

# what a kernel works on has no types of Python's

from math import gcd

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _triton
from fastsnn.ops._neuron_kernel import first_bits, popcount
from fastsnn.ops._repeated_kernel import spread, values_of
from fastsnn.ops.emit import reference

THREADS, BYTES = 128, 16
FIRST: tl.constexpr = tl.constexpr(reference.FIRST)
SECOND: tl.constexpr = tl.constexpr(reference.SECOND)
SPREAD: tl.constexpr = tl.constexpr(reference.SPREAD)
STEP: tl.constexpr = tl.constexpr(reference.STEP)
# thresholds that the spikes of a word do not make up for
MOST: tl.constexpr = tl.constexpr(33.0)


@triton.jit
def _thresholds_in(v, threshold, share):
    """The whole thresholds in a potential, rounded down, from the quotient of the two; at most MOST."""
    held = tl.minimum(tl.maximum(share, -MOST), MOST)
    n = held.to(tl.int32)
    n -= (n.to(tl.float64) > held).to(tl.int32)
    if v.dtype == tl.float64:
        # the quotient of two doubles may have been rounded up to a whole number: see csrc/emit/spikes.h
        split = threshold * 134217729.0
        high = split - (split - threshold)
        low = threshold - high
        n -= (n.to(tl.float64) * high - v > -(n.to(tl.float64) * low)).to(tl.int32)
    return n


@triton.jit
def _hashed(x):
    """32 bits without a sign, as a number in [0, 1)."""
    x = (x ^ (x >> 16)) * FIRST
    x = (x ^ (x >> 13)) * SECOND
    return (x ^ (x >> 16)).to(tl.float64) / 4294967296.0


@triton.jit(do_not_specialize=["units", "key"])
def _emit_kernel(
    words,
    v,
    threshold,
    out,
    units,
    threshold_period,
    key,
    UNIT: tl.constexpr,
    T: tl.constexpr,
    RANDOM: tl.constexpr,
    THRESHOLD: tl.constexpr,
    THRESHOLD_FACTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < units.to(tl.int64) * UNIT
    spikes = popcount(first_bits(tl.load(words + at, mask=inside, other=0), T))
    u = tl.load(v + at, mask=inside, other=0)
    theta = values_of(threshold, at, inside, threshold_period, THRESHOLD, THRESHOLD_FACTOR, "")
    theta = tl.where(inside, theta, 1)
    share = u.to(tl.float64) / theta.to(tl.float64)
    if RANDOM:
        left = share + spikes.to(tl.float64)
        x = at.to(tl.uint32) * SPREAD + key.to(tl.uint32)
        steps = tl.full([BLOCK], T, tl.float64)
        bit = tl.full([BLOCK], 1, tl.int32)
        found = tl.zeros([BLOCK], tl.int32)
        # not unrolled: a division of 64 bits is many instructions
        for _ in range(T):
            fires = _hashed(x) < left / steps
            left -= fires.to(tl.float64)
            found |= tl.where(fires, bit, 0)
            x += STEP
            steps -= 1.0
            bit <<= 1
    else:
        n = tl.minimum(tl.maximum(spikes + _thresholds_in(u, theta, share), 0), T)
        # a shift by 32 is undefined
        found = tl.where(n == 32, -1, (1 << (n & 31)) - 1)
    tl.store(out + at, found.to(out.dtype.element_ty), mask=inside)


def emit(words: Tensor, v: Tensor, threshold: Tensor, T: int, kind: str, seed: int) -> Tensor:
    count, out = words.numel(), torch.empty_like(words)
    if not count:
        return out
    block = THREADS * BYTES // v.element_size()
    theta, period, form = spread(threshold, words.shape, block)
    key = reference.key(seed)
    # of one item of the batch, so that a batch of another size finds the kernel compiled
    unit = gcd(words.shape[1:].numel() if words.ndim > 1 else count, 16)
    with _triton.on(words):
        _emit_kernel[(triton.cdiv(count, block),)](
            words,
            v,
            theta,
            out,
            count // unit,
            period,
            # as a number with a sign, whose type does not depend on the seed
            key - 2**32 * (key >= 2**31),
            UNIT=unit,
            T=T,
            RANDOM=kind == "random",
            THRESHOLD=form,
            THRESHOLD_FACTOR=gcd(period, block),
            BLOCK=block,
            num_warps=THREADS // 32,
            enable_fp_fusion=False,
        )
    return out
