"""Average pools folded into the convolution or linear layer behind them, so that no number is kept over time."""

import torch
from torch import Tensor

from fastsnn.convert.graph import Conv, Linear, Window
from fastsnn.windows import Shape


def fold_conv(conv: Conv, window: Window, sizes: Shape) -> Conv | None:
    """The one convolution that does `window` (non-overlapping average pool of `sizes`) and then `conv`.

    None where there is no such convolution: windows that overlap or are padded, or a remainder that no window covers,
    which the padding of the larger convolution would not leave out.
    """
    pool = window.pooling
    if pool is None or pool.stride != pool.kernel or any(pool.padding) or set(pool.dilation) != {1}:
        return None
    if any(size % k for size, k in zip(sizes, pool.kernel, strict=True)):
        return None
    weight = conv.weight * window.weight.max()
    for i, (k, d) in enumerate(zip(pool.kernel, conv.dilation, strict=True)):
        weight = _spread(weight, 2 + i, k, d)
    stride = tuple(s * k for s, k in zip(conv.stride, pool.kernel, strict=True))
    padding = tuple(p * k for p, k in zip(conv.padding, pool.kernel, strict=True))
    return Conv(weight, stride, padding, (1,) * len(stride), conv.groups)


def fold_linear(linear: Linear, index: Tensor, window: Window, sizes: Shape, channels: int) -> Linear:
    """The linear layer on [*sizes, channels], flattened, that does `window`, the movement `index` [K], and `linear`."""
    inputs = torch.Size(sizes).numel() * channels
    weight = torch.zeros(linear.weight.shape[0], inputs, dtype=torch.float64)
    position, channel = index.flatten() // channels, index.flatten() % channels
    moved = index.flatten() >= 0
    for which, scale in zip(window.index.T, window.weight.T, strict=True):
        source = which[position]
        used = moved & (source >= 0)
        columns = (linear.weight * scale[position])[:, used]
        weight.index_add_(1, (source * channels + channel)[used], columns)
    return Linear(weight)


def _spread(weight: Tensor, dim: int, times: int, dilation: int) -> Tensor:
    """Each tap of a kernel `times` times in a row, taps `times * dilation` apart."""
    taps = weight.shape[dim]
    shape = list(weight.shape)
    shape[dim] = ((taps - 1) * dilation + 1) * times
    out = torch.zeros(shape, dtype=weight.dtype)
    for tap in range(taps):
        start = tap * dilation * times
        out.narrow(dim, start, times).copy_(weight.narrow(dim, tap, 1).expand_as(out.narrow(dim, start, times)))
    return out
