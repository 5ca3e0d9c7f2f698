"""What the largest sum of each window changes by, in Triton: a tile of outputs and channels has all steps at once."""

# what a kernel works on has no types of Python's

from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _triton
from fastsnn.ops import _three
from fastsnn.ops._neuron_kernel import first_bits, popcount, unsigned
from fastsnn.ops.pool.windows_kernel import THREADS, Size, constants_of, corner, grid, member, tile_of, tiles
from fastsnn.spikes import word_dtype
from fastsnn.windows import output_size

LEAST: tl.constexpr = tl.constexpr(-(2**31))
# numbers that a thread has of each of its tensors
EACH = 8


@triton.jit(do_not_specialize=["rows", "word_plane", "result_plane"])
def _lateral_kernel(
    words,
    sums,
    result,
    rows,
    word_plane,
    result_plane,
    depth,
    height,
    width,
    out_d,
    out_h,
    out_w,
    channels,
    AMPLITUDES: tl.constexpr,
    PLANES: tl.constexpr,
    WINDOW: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    T: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    row, c, real = tile_of(channels, ROWS, CHANNELS)
    real = real & (row < rows)
    item, d, h, w = corner(row, out_d, out_h, out_w, STRIDE, PADDING)
    t = tl.arange(0, STEPS)[None, None, :]
    before = (tl.full([1, 1, STEPS], 1, tl.uint32) << t.to(tl.uint32)) - 1
    last = tl.full([ROWS, CHANNELS, STEPS], LEAST, tl.int32)
    most = tl.full([ROWS, CHANNELS, STEPS], LEAST, tl.int32)
    for i in tl.static_range(WINDOW):
        at, inside = member(item, d, h, w, depth, height, width, KERNEL, DILATION, i)
        place = at * channels + c
        there = real & inside
        # what is beside the input is never the largest
        start = tl.load(sums + place, mask=there, other=LEAST)[:, :, None]
        earlier = tl.broadcast_to(start, [ROWS, CHANNELS, STEPS])
        now = tl.zeros([ROWS, CHANNELS, STEPS], tl.int32)
        for p in tl.static_range(PLANES):
            word = unsigned(tl.load(words + p * word_plane.to(tl.int64) + place, mask=there, other=0))[:, :, None]
            earlier += popcount(word & before) * AMPLITUDES[p]
            now += ((word >> t.to(tl.uint32)) & 1).to(tl.int32) * AMPLITUDES[p]
        last = tl.maximum(last, earlier)
        most = tl.maximum(most, earlier + now)
    # what it changes by, of which each plane takes its share
    rest = most - last
    for p in tl.static_range(PLANES):
        if AMPLITUDES[p] > 0:
            fired = rest >= AMPLITUDES[p]
        else:
            fired = rest <= AMPLITUDES[p]
        fired = fired & (t < T)
        rest -= tl.where(fired, AMPLITUDES[p], 0)
        word = tl.sum(fired.to(tl.int32) << t, 2)
        to = result + p * result_plane.to(tl.int64) + row.to(tl.int64) * channels + c
        tl.store(to, word.to(result.dtype.element_ty), mask=real)


@triton.jit(do_not_specialize=["rows", "word_plane"])
def _sums_kernel(
    words,
    sums,
    after,
    rows,
    word_plane,
    channels,
    AMPLITUDES: tl.constexpr,
    PLANES: tl.constexpr,
    T: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    row, c, real = tile_of(channels, ROWS, CHANNELS)
    real = real & (row < rows)
    at = row.to(tl.int64) * channels + c
    sum = tl.load(sums + at, mask=real, other=0)
    for p in tl.static_range(PLANES):
        word = tl.load(words + p * word_plane.to(tl.int64) + at, mask=real, other=0)
        sum += popcount(first_bits(word, T)) * AMPLITUDES[p]
    tl.store(after + at, sum, mask=real)


def pool_lateral(
    words: Tensor,
    sums: Tensor,
    T: int,
    amplitudes: Size,
    kernel: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    batch, *sizes, channels = sums.shape
    geometry = (kernel, stride, padding, dilation)
    out = list(map(output_size, sizes, *geometry, [ceil_mode] * len(sizes)))
    planes = (*words.shape[: words.ndim - sums.ndim], batch)
    result, after = words.new_empty((*planes, *out, channels), dtype=word_dtype(T)), torch.empty_like(sums)
    steps = 8 * result.element_size()
    constants = {"AMPLITUDES": tuple(amplitudes), "PLANES": len(amplitudes), "T": T, "num_warps": THREADS // 32}
    with _triton.on(words):
        if result.numel():
            rows, outputs = batch * prod(out), THREADS * EACH // steps
            across = min(triton.next_power_of_2(channels), outputs)
            tile = (outputs // across, across)
            _lateral_kernel[grid(rows, channels, tile)](
                words,
                sums,
                result,
                rows,
                sums.numel(),
                rows * channels,
                *_three.sizes(sizes),
                *_three.sizes(out),
                channels,
                STEPS=steps,
                ROWS=tile[0],
                CHANNELS=tile[1],
                **constants,
                **constants_of(geometry),
            )
        if sums.numel():
            rows, tile = sums.numel() // channels, tiles(channels, 4)
            _sums_kernel[grid(rows, channels, tile)](
                words, sums, after, rows, sums.numel(), channels, ROWS=tile[0], CHANNELS=tile[1], **constants
            )
    return result, after
