"""Windows in Triton: which outputs and channels a program has, and the inputs of a window."""

# what a kernel works on has no types of Python's

from collections.abc import Sequence
from math import prod

import triton
import triton.language as tl

from fastsnn.ops import _three

Size = Sequence[int]

THREADS = 128
# channels of a tile at most
MOST_CHANNELS = 128


@triton.jit
def tile_of(channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Of a program: its rows [ROWS, 1], its channels [1, CHANNELS] and which of them there are."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    return row, c, c < channels


@triton.jit
def corner(row, out_d, out_h, out_w, STRIDE: tl.constexpr, PADDING: tl.constexpr):
    """The item of the batch that an output belongs to, and the first position of its window."""
    w = row % out_w * STRIDE[2] - PADDING[2]
    h = row // out_w % out_h * STRIDE[1] - PADDING[1]
    d = row // out_w // out_h % out_d * STRIDE[0] - PADDING[0]
    return row // out_w // out_h // out_d, d, h, w


@triton.jit
def member(item, d, h, w, depth, height, width, KERNEL: tl.constexpr, DILATION: tl.constexpr, MEMBER: tl.constexpr):
    """A position of a window: its number among those of the whole batch, and whether it is one of the input."""
    d += MEMBER // (KERNEL[1] * KERNEL[2]) * DILATION[0]
    h += MEMBER // KERNEL[2] % KERNEL[1] * DILATION[1]
    w += MEMBER % KERNEL[2] * DILATION[2]
    inside = (d >= 0) & (d < depth) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
    return ((item.to(tl.int64) * depth + d) * height + h) * width + w, inside


def constants_of(geometry: tuple[Size, Size, Size, Size]) -> dict[str, int | tuple[int, ...]]:
    """Kernel, stride, padding and dilation as the kernels' constants."""
    names = ("KERNEL", "STRIDE", "PADDING", "DILATION")
    sizes = dict(zip(names, map(tuple, _three.geometry(*geometry)), strict=True))
    return {"WINDOW": prod(geometry[0]), **sizes}


def tiles(channels: int, vector: int) -> tuple[int, int]:
    """Rows and channels of a tile in which each thread has `vector` channels."""
    across = min(triton.next_power_of_2(channels), MOST_CHANNELS)
    return max(THREADS * vector // across, 1), across


def grid(rows: int, channels: int, tile: tuple[int, int]) -> tuple[int, int]:
    return triton.cdiv(rows, tile[0]), triton.cdiv(channels, tile[1])
