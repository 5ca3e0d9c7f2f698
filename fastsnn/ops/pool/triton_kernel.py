"""Pooling over packed spikes in Triton: a tile of outputs and channels reads each word of its windows once."""

# what a kernel works on has no types of Python's

from collections.abc import Sequence
from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _triton
from fastsnn.ops import _three
from fastsnn.ops._neuron_kernel import first_bits, popcount, unsigned
from fastsnn.ops.pool.windows_kernel import THREADS, constants_of, corner, grid, member, tile_of, tiles
from fastsnn.spikes import word_dtype
from fastsnn.windows import output_size

Size = Sequence[int]

# words that a thread of the gate may hold, with as many counts, before it runs out of registers
MOST_HELD = 48


@triton.jit(do_not_specialize=["rows"])
def _pool_kernel(
    words,
    result,
    rows,
    depth,
    height,
    width,
    out_d,
    out_h,
    out_w,
    channels,
    WINDOW: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    T: tl.constexpr,
    COUNT: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    row, c, real = tile_of(channels, ROWS, CHANNELS)
    real = real & (row < rows)
    item, d, h, w = corner(row, out_d, out_h, out_w, STRIDE, PADDING)
    pooled = tl.zeros([ROWS, CHANNELS], tl.int32)
    for i in tl.static_range(WINDOW):
        at, inside = member(item, d, h, w, depth, height, width, KERNEL, DILATION, i)
        bits = first_bits(tl.load(words + at * channels + c, mask=real & inside, other=0), T)
        if COUNT:
            pooled += popcount(bits)
        else:
            pooled |= bits.to(tl.int32, bitcast=True)
    tl.store(result + row.to(tl.int64) * channels + c, pooled.to(result.dtype.element_ty), mask=real)


@triton.jit
def _gate_step(words, counts, t, WINDOW: tl.constexpr):
    """The spike of the most active input at step t, and the counts of all inputs after it."""
    now = ()
    for i in tl.static_range(WINDOW):
        spike = ((words[i] >> t) & 1).to(tl.int32)
        count = counts[i] + spike
        now += (count,)
        if i == 0:
            most, passed = count, spike
        else:
            # of equals the first in the window stays
            passed = tl.where(count > most, spike, passed)
            most = tl.maximum(count, most)
    return passed, now


@triton.jit(do_not_specialize=["rows"])
def _gate_kernel(
    words,
    counts,
    result,
    rows,
    depth,
    height,
    width,
    out_d,
    out_h,
    out_w,
    channels,
    WINDOW: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    T: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    row, c, real = tile_of(channels, ROWS, CHANNELS)
    real = real & (row < rows)
    item, d, h, w = corner(row, out_d, out_h, out_w, STRIDE, PADDING)
    trains = ()
    so_far = ()
    for i in tl.static_range(WINDOW):
        at, inside = member(item, d, h, w, depth, height, width, KERNEL, DILATION, i)
        trains += (unsigned(tl.load(words + at * channels + c, mask=real & inside, other=0)),)
        # padding has less than no spikes: it never wins
        so_far += (tl.load(counts + at * channels + c, mask=real & inside, other=-1),)
    gated = tl.zeros([ROWS, CHANNELS], tl.int32)
    # not unrolled: the steps of all positions of a large window take a compiler minutes
    for t in range(T):
        passed, so_far = _gate_step(trains, so_far, t, WINDOW)
        gated |= passed << t
    tl.store(result + row.to(tl.int64) * channels + c, gated.to(result.dtype.element_ty), mask=real)


@triton.jit(do_not_specialize=["rows"])
def _counted_kernel(words, counts, after, rows, channels, T: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    row, c, real = tile_of(channels, ROWS, CHANNELS)
    real = real & (row < rows)
    at = row.to(tl.int64) * channels + c
    now = popcount(first_bits(tl.load(words + at, mask=real, other=0), T))
    tl.store(after + at, tl.load(counts + at, mask=real, other=0) + now, mask=real)


def pool_or(
    words: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> Tensor:
    return _windows(
        _pool_kernel, (words,), word_dtype(T), T, (kernel, stride, padding, dilation), ceil_mode, COUNT=False
    )


def pool_gate(
    words: Tensor, counts: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    geometry = (kernel, stride, padding, dilation)
    passed = _windows(_gate_kernel, (words, counts), word_dtype(T), T, geometry, ceil_mode)
    after = torch.empty_like(counts)
    if counts.numel():
        channels = counts.shape[-1]
        rows = counts.numel() // channels
        tile = tiles(channels, 4)
        with _triton.on(words):
            _counted_kernel[grid(rows, channels, tile)](
                words, counts, after, rows, channels, T=T, ROWS=tile[0], CHANNELS=tile[1], num_warps=THREADS // 32
            )
    return passed, after


def pool_counts(
    words: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> Tensor:
    return _windows(_pool_kernel, (words,), torch.int32, T, (kernel, stride, padding, dilation), ceil_mode, COUNT=True)


def _windows(
    kernel: triton.JITFunction,
    inputs: tuple[Tensor, ...],
    dtype: torch.dtype,
    T: int,
    geometry: tuple[Size, Size, Size, Size],
    ceil_mode: bool,
    **constants: bool,
) -> Tensor:
    """A kernel over the windows of its inputs [B, *S, C]: its result [B, *S', C]."""
    batch, *sizes, channels = inputs[0].shape
    out = list(map(output_size, sizes, *geometry, [ceil_mode] * len(sizes)))
    result = torch.empty((batch, *out, channels), dtype=dtype, device=inputs[0].device)
    if not result.numel():
        return result
    rows, window = batch * prod(out), prod(geometry[0])
    vector = 16 // max(x.element_size() for x in (*inputs, result))
    # the gate holds the words and counts of a whole window
    while len(inputs) > 1 and vector > 1 and vector * window > MOST_HELD:
        vector //= 2
    tile = tiles(channels, vector)
    with _triton.on(inputs[0]):
        kernel[grid(rows, channels, tile)](
            *inputs,
            result,
            rows,
            *_three.sizes(sizes),
            *_three.sizes(out),
            channels,
            T=T,
            ROWS=tile[0],
            CHANNELS=tile[1],
            num_warps=THREADS // 32,
            **constants_of(geometry),
            **constants,
        )
    return result
