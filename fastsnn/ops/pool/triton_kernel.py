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
from fastsnn.spikes import word_dtype
from fastsnn.windows import output_size

Size = Sequence[int]

THREADS = 128
# channels of a tile at most
MOST_CHANNELS = 128
# words that a thread of the gate may hold, with as many counts, before it runs out of registers
MOST_HELD = 48


@triton.jit
def _tile(channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Of a program: its rows [ROWS, 1], its channels [1, CHANNELS] and which of them there are."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    return row, c, c < channels


@triton.jit
def _corner(row, out_d, out_h, out_w, STRIDE: tl.constexpr, PADDING: tl.constexpr):
    """The item of the batch that an output belongs to, and the first position of its window."""
    w = row % out_w * STRIDE[2] - PADDING[2]
    h = row // out_w % out_h * STRIDE[1] - PADDING[1]
    d = row // out_w // out_h % out_d * STRIDE[0] - PADDING[0]
    return row // out_w // out_h // out_d, d, h, w


@triton.jit
def _member(item, d, h, w, depth, height, width, KERNEL: tl.constexpr, DILATION: tl.constexpr, MEMBER: tl.constexpr):
    """A position of a window: its number among those of the whole batch, and whether it is one of the input."""
    d += MEMBER // (KERNEL[1] * KERNEL[2]) * DILATION[0]
    h += MEMBER // KERNEL[2] % KERNEL[1] * DILATION[1]
    w += MEMBER % KERNEL[2] * DILATION[2]
    inside = (d >= 0) & (d < depth) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
    return ((item.to(tl.int64) * depth + d) * height + h) * width + w, inside


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
    row, c, real = _tile(channels, ROWS, CHANNELS)
    real = real & (row < rows)
    item, d, h, w = _corner(row, out_d, out_h, out_w, STRIDE, PADDING)
    pooled = tl.zeros([ROWS, CHANNELS], tl.int32)
    for i in tl.static_range(WINDOW):
        at, inside = _member(item, d, h, w, depth, height, width, KERNEL, DILATION, i)
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
    row, c, real = _tile(channels, ROWS, CHANNELS)
    real = real & (row < rows)
    item, d, h, w = _corner(row, out_d, out_h, out_w, STRIDE, PADDING)
    trains = ()
    so_far = ()
    for i in tl.static_range(WINDOW):
        at, inside = _member(item, d, h, w, depth, height, width, KERNEL, DILATION, i)
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
    row, c, real = _tile(channels, ROWS, CHANNELS)
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
        tile = _tiles(channels, 4)
        with _triton.on(words):
            _counted_kernel[_grid(rows, channels, tile)](
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
    tile = _tiles(channels, vector)
    names = ("KERNEL", "STRIDE", "PADDING", "DILATION")
    constexprs = dict(zip(names, map(tuple, _three.geometry(*geometry)), strict=True))
    with _triton.on(inputs[0]):
        kernel[_grid(rows, channels, tile)](
            *inputs,
            result,
            rows,
            *_three.sizes(sizes),
            *_three.sizes(out),
            channels,
            WINDOW=window,
            T=T,
            ROWS=tile[0],
            CHANNELS=tile[1],
            num_warps=THREADS // 32,
            **constexprs,
            **constants,
        )
    return result


def _tiles(channels: int, vector: int) -> tuple[int, int]:
    """Rows and channels of a tile in which each thread has `vector` channels."""
    across = min(triton.next_power_of_2(channels), MOST_CHANNELS)
    return max(THREADS * vector // across, 1), across


def _grid(rows: int, channels: int, tile: tuple[int, int]) -> tuple[int, int]:
    return triton.cdiv(rows, tile[0]), triton.cdiv(channels, tile[1])
