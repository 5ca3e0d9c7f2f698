"""Sums of values, and products and sums with constants."""

from typing import Any

import torch

from fastsnn.convert.graph import Add, Node
from fastsnn.convert.rules.call import Call, Refusal, affine, spread
from fastsnn.convert.rules.function import function


def add(call: Call, x: Any, y: Any, alpha: float = 1) -> Node:
    if isinstance(x, Node) and isinstance(y, Node):
        x, y = (spread(call, n, call.logical) for n in (x, y))
        return call.add(Add((1.0, float(alpha))), x, y)
    if isinstance(x, Node):
        return affine(call, x, 1.0, torch.as_tensor(y, dtype=torch.float64) * alpha)
    return affine(call, y, alpha, x)


def sub(call: Call, x: Any, y: Any, alpha: float = 1) -> Node:
    return add(call, x, y, -alpha)


def rsub(call: Call, x: Any, y: Any, alpha: float = 1) -> Node:
    return add(call, y, x, -alpha)


def mul(call: Call, x: Any, y: Any) -> Node:
    if isinstance(x, Node) and isinstance(y, Node):
        return function(call, x, y)
    return affine(call, x, y) if isinstance(x, Node) else affine(call, y, x)


def div(call: Call, x: Any, y: Any, rounding_mode: str | None = None) -> Node:
    if rounding_mode is not None:
        raise Refusal("a division with rounding is not supported")
    if isinstance(y, Node):
        if isinstance(x, Node):
            return function(call, x, y)
        raise Refusal("a constant divided by a value is not supported, but its product with the reciprocal is")
    return affine(call, x, 1.0 / torch.as_tensor(y, dtype=torch.float64))


def neg(call: Call, x: Node) -> Node:
    return affine(call, x, -1.0)
