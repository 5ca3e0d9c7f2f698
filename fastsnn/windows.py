"""Which input positions each window of a pooling covers, for any number of spatial dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# of a value without its batch, channels last: (H, W, C), (L, C) or (F,)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Pooling:
    """Geometry of a pooling window over 1 to 3 spatial dimensions."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """torch's rule: with ceil_mode a last window may hang over the end, but has to start before it."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    out = -(-span // stride) + 1
    return out - 1 if (out - 1) * stride >= size + padding else out


def window_index(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[Tensor, tuple[int, ...]]:
    """Index of each window into the flattened positions: ([P_out, prod(kernel)] int64, -1 outside the input; S').

    Raises ValueError where a window does not fit.
    """
    out = tuple(map(output_size, sizes, kernel, stride, padding, dilation, [ceil_mode] * len(sizes)))
    if any(n < 1 for n in out):
        raise ValueError(f"pooling of kernel {list(kernel)} leaves nothing of an input of size {list(sizes)}")
    index = torch.zeros(1, 1, dtype=torch.int64)
    valid = torch.ones(1, 1, dtype=torch.bool)
    for size, n, k, s, p, d in zip(sizes, out, kernel, stride, padding, dilation, strict=True):
        position = torch.arange(n)[:, None] * s - p + torch.arange(k)[None] * d
        inside = (position >= 0) & (position < size)
        index = (index[:, None, :, None] * size + position[None, :, None, :]).flatten(2).flatten(0, 1)
        valid = (valid[:, None, :, None] & inside[None, :, None, :]).flatten(2).flatten(0, 1)
    return torch.where(valid, index, -1), out


def largest(x: Tensor, index: Tensor) -> Tensor:
    """The largest number of each window: [N, *S, C] -> [N, P_out, C]; index [P_out, window], -1 for none."""
    flat = x.flatten(1, -2)
    least = -torch.inf if flat.is_floating_point() else torch.iinfo(flat.dtype).min
    edge = flat.new_full((len(flat), 1, flat.shape[2]), least)
    return torch.cat([flat, edge], dim=1)[:, index].amax(2)
