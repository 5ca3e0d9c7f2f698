"""Average and max pooling, and means over positions."""

from typing import Any

import torch
from torch import Tensor

from fastsnn.convert.graph import MaxPool, Node, Refused, Window
from fastsnn.convert.rules.call import Call, Refusal, each, moved
from fastsnn.convert.rules.function import over
from fastsnn.windows import Pooling, window_index


def _pool_geometry(x: Node, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Pooling:
    dims = len(x.shape) - 1
    kernel = each(kernel, dims)
    stride = each(stride, dims) if stride not in (None, [], ()) else kernel
    return Pooling(kernel, stride, each(padding, dims), each(dilation, dims), bool(ceil_mode))


def max_pool(
    call: Call, x: Node, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Node:
    return call.add(MaxPool(_pool_geometry(x, kernel, stride, padding, dilation, ceil_mode)), x)


def avg_pool(
    call: Call, x: Node, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Node:  # fmt: skip
    pooling = _pool_geometry(x, kernel, stride, padding, 1, ceil_mode)
    sizes = x.shape[:-1]
    index, out = window_index(
        sizes, pooling.kernel, pooling.stride, pooling.padding, pooling.dilation, pooling.ceil_mode
    )
    if divisor_override:
        divisor = torch.full((len(index), 1), float(divisor_override), dtype=torch.float64)
    elif count_include_pad:
        divisor = _padded_positions(sizes, out, pooling)[:, None]
    else:
        divisor = (index >= 0).sum(1, keepdim=True).double()
    return _window(call, x, index, 1.0 / divisor, pooling)


def _padded_positions(sizes: tuple[int, ...], out: tuple[int, ...], pooling: Pooling) -> Tensor:
    """Positions of each window inside input and padding: torch does not count what ceil_mode adds behind them."""
    count = torch.ones(1, dtype=torch.float64)
    for size, n, k, s, p in zip(sizes, out, pooling.kernel, pooling.stride, pooling.padding, strict=True):
        start = torch.arange(n) * s - p
        span = torch.clamp(start + k, max=size + p) - start
        count = (count[:, None] * span[None]).flatten()
    return count


def _window(call: Call, x: Node, index: Tensor, weight: Tensor, pooling: Pooling | None = None) -> Node:
    """weight [P_out, 1]: the same for all positions of a window."""
    same = bool((weight == weight[0]).all())
    floor = pooling is not None and window_index(
        x.shape[:-1], pooling.kernel, pooling.stride, pooling.padding, pooling.dilation
    )[1] == call.shape[:-1]  # fmt: skip
    full = torch.where(index >= 0, weight, 0.0)
    return call.add(Window(index, full, pooling if same and floor else None), x)


def _adaptive_windows(x: Node, output: Any) -> tuple[Tensor, tuple[int, ...]]:
    """torch's adaptive windows, padded with -1 to one length."""
    sizes = x.shape[:-1]
    output = [s if o is None else o for s, o in zip(sizes, each(output, len(sizes)), strict=True)]
    per_dim = []
    for size, out in zip(sizes, output, strict=True):
        spans = [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]
        longest = max(b - a for a, b in spans)
        per_dim.append(torch.tensor([[*range(a, b), *[-1] * (longest - b + a)] for a, b in spans]))
    index = torch.zeros(1, 1, dtype=torch.int64)
    for size, positions in zip(sizes, per_dim, strict=True):
        index = crossed(index, positions, size)
    return index, tuple(output)


def crossed(index: Tensor, positions: Tensor, size: int) -> Tensor:
    """Windows [P, window] with those [p, n] of one more dimension of `size` positions: [P p, window n]; -1 is none."""
    outer, inner = index[:, None, :, None], positions[None, :, None, :]
    return torch.where((outer < 0) | (inner < 0), -1, outer * size + inner).flatten(2).flatten(0, 1)


def adaptive_avg_pool(call: Call, x: Node, output: Any) -> Node:
    index, out = _adaptive_windows(x, output)
    sizes, ones = x.shape[:-1], (1,) * len(out)
    even = all(s % o == 0 for s, o in zip(sizes, out, strict=True))
    kernel = tuple(s // o for s, o in zip(sizes, out, strict=True))
    pooling = Pooling(kernel, kernel, (0,) * len(out), ones) if even else None
    return _window(call, x, index, 1.0 / (index >= 0).sum(1, keepdim=True).double(), pooling)


def adaptive_max_pool(call: Call, x: Node, output: Any) -> list[Node]:
    sizes = x.shape[:-1]
    wanted = each(output, len(sizes))
    if any(s % o for s, o in zip(sizes, wanted, strict=True)):
        raise Refusal(f"adaptive max pooling of {list(sizes)} to {list(wanted)} has uneven windows")
    kernel = tuple(s // o for s, o in zip(sizes, wanted, strict=True))
    ones = (1,) * len(sizes)
    out = call.add(MaxPool(Pooling(kernel, kernel, (0,) * len(sizes), ones)), x)
    return [out, call.add(Refused("the indices of a max pool have no spiking form"), x)]


def mean_over(call: Call, x: Node, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Node:
    return _reduce(call, x, dims, mean=True)


def sum_over(call: Call, x: Node, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Node:
    return _reduce(call, x, dims, mean=False)


def max_over(call: Call, x: Node, dims: Any = (), keepdim: bool = False) -> Node:
    positions = list(range(2, len(x.shape) + 1))
    if sorted(d % (len(x.shape) + 1) for d in dims) != positions or not positions:
        # no max pool, but a function of the means
        return over(call, x, dims, keepdim)
    sizes, ones = x.shape[:-1], (1,) * len(positions)
    pool = MaxPool(Pooling(sizes, sizes, (0,) * len(sizes), ones))
    out = call.add(pool, x, shape=(*ones, x.shape[-1]))
    return out if keepdim else moved(call, out, lambda ids: ids.flatten(1), ".flat")


def _reduce(call: Call, x: Node, dims: Any, mean: bool) -> Node:
    order = len(x.shape) + 1
    dims = sorted(d % order for d in (dims if dims else range(order)))
    if 0 in dims or len(dims) == order - 1:
        raise Refusal("a mean or sum over samples, or over all of a sample, has no spiking form")
    if 1 in dims:
        return _reduce_channels(call, x, dims, mean)
    sizes = x.shape[:-1]
    spatial = [d - 2 for d in dims]
    kept = [d for d in range(len(sizes)) if d not in spatial]
    grid = torch.arange(torch.Size(sizes).numel()).reshape(sizes)
    index = grid.permute(*kept, *spatial).reshape(torch.Size([sizes[d] for d in kept]).numel(), -1)
    return _weighted(call, x, index, call.shape, mean)


def _reduce_channels(call: Call, x: Node, dims: list[int], mean: bool) -> Node:
    """What is summed becomes positions, and what stays becomes channels."""
    kept = [d for d in range(1, len(x.shape) + 1) if d not in dims]

    def flat(ids: Tensor) -> Tensor:
        parted = ids.permute(0, *kept, *dims)
        return parted.flatten(1, len(kept)).flatten(2)

    x = moved(call, x, flat, ".in")
    index = torch.arange(x.shape[0])[None]
    out = _weighted(call, x, index, x.shape[-1:], mean, ".sum")
    return moved(call, out, lambda ids: ids.reshape(-1, *call.logical), ".out")


def _weighted(call: Call, x: Node, index: Tensor, shape: tuple[int, ...], mean: bool, suffix: str = "") -> Node:
    weight = torch.full(index.shape, 1.0 / index.shape[1] if mean else 1.0, dtype=torch.float64)
    return call.add(Window(index, weight), x, shape=shape, suffix=suffix)
