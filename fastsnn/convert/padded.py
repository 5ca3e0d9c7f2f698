"""A max pool that another operator pads, as in networks that come from TensorFlow ("SAME"): one operator of both."""

from math import inf
from typing import Any

from torch import fx

from fastsnn.convert.rules.call import each, operator_of
from fastsnn.windows import output_size

POOLS = {"max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"}
PADS = {"pad", "constant_pad_nd"}


def merge_padding(graph: fx.Graph) -> None:
    """Pools of what was padded with -inf read the unpadded input instead, where their own padding does the same.

    torch pads max pools with -inf too, but as much behind as in front. Windows that hang over the end (ceil_mode) make
    up for what there is more behind, where there are as many of them.
    """
    for node in graph.nodes:
        pad: Any = node.args[0] if operator_of(node) in POOLS else None
        if isinstance(pad, fx.Node) and operator_of(pad) in PADS and pad.args[-1] == -inf:
            merged = _merged(node, pad)
            if merged is not None:
                node.args = (pad.args[0], *merged)


def _merged(pool: Any, pad: Any) -> tuple[Any, ...] | None:
    """The arguments of the pool behind its input, or None where no padding of its own is the same."""
    value = pool.meta["val"]
    wanted = (value[0] if isinstance(value, list | tuple) else value).shape[2:]
    dims, sizes = len(wanted), pad.args[0].meta["val"].shape[2:]
    given = dict(zip(("kernel", "stride", "padding", "dilation"), pool.args[1:5], strict=False))
    kernel = each(given["kernel"], dims)
    stride = each(given.get("stride") or kernel, dims)
    inside, dilation = each(given.get("padding", 0), dims), each(given.get("dilation", 1), dims)
    # pairs of front and behind, the last dimension first
    amounts = pad.args[1]
    front = [*amounts[0 : 2 * dims : 2], *[0] * dims][:dims][::-1]
    low = tuple(a + b for a, b in zip(front, inside, strict=True))
    # a negative amount cuts off what a pool would read
    odd = min(amounts) < 0 or any(amounts[2 * dims :])
    if odd or any(p > k // 2 for p, k in zip(low, kernel, strict=True)):
        return None
    for ceil_mode in (False, True):
        if tuple(map(output_size, sizes, kernel, stride, low, dilation, [ceil_mode] * dims)) == tuple(wanted):
            return kernel, stride, low, dilation, ceil_mode
    return None
