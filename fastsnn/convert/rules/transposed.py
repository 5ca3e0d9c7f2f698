"""Convolutions as torch's general operator has them; a transposed one is a convolution among zeros that are put in."""

from typing import Any

from torch import Tensor

from fastsnn.convert.graph import Node
from fastsnn.convert.rules.call import Call, each, moved, parameter
from fastsnn.convert.rules.linear import conv


def convolution(
    call: Call, x: Node, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Node:  # fmt: skip
    if transposed:
        return conv_transpose(call, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(call, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose(
    call: Call, x: Node, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Node:  # fmt: skip
    """weight [C, O / groups, *kernel]: what an input adds to all outputs around stride times its place.

    With stride - 1 zeros between inputs it is the convolution that reads them through the kernel turned around.
    """
    weight = parameter(weight, "its weight")
    dims = weight.ndim - 2
    stride, padding, more, dilation = (each(n, dims) for n in (stride, padding, output_padding, dilation))
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    around = [r - p for r, p in zip(reach, padding, strict=True)]
    sizes = [(n - 1) * s + 1 + m for n, s, m in zip(x.shape[:-1], stride, more, strict=True)]

    places: tuple[Any, ...] = tuple(slice(0, (n - 1) * s + 1, s) for n, s in zip(x.shape[:-1], stride, strict=True))
    # where there is more padding than the kernel reaches, what lies outside is read by no output
    read: tuple[Any, ...] = tuple(slice(max(-a, 0), n - max(-a, 0)) for n, a in zip(sizes, around, strict=True))

    def spread(ids: Tensor) -> Tensor:
        out = ids.new_zeros(*ids.shape[:2], *sizes)
        out[(..., *places)] = ids
        return out[(..., *read)]

    if any(n > 1 for n in stride) or any(more) or min(around) < 0:
        x = moved(call, x, spread, ".spread")
    parts = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    turned = parts.flip(tuple(range(2, weight.ndim)))
    return conv(call, x, turned, bias, 1, tuple(max(a, 0) for a in around), dilation, groups)
