"""Convolutions, linear layers and batch norm."""

from typing import Any

import torch
from torch.nn.functional import pad

from fastsnn.convert.graph import Affine, Conv, Linear, Node
from fastsnn.convert.rules.call import PRODUCT, Call, Refusal, affine, column, each, moved, parameter
from fastsnn.convert.rules.function import product


def conv(
    call: Call, x: Node, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Node:  # fmt: skip
    weight = parameter(weight, "its weight")
    dims = weight.ndim - 2
    stride, dilation = each(stride, dims), each(dilation, dims)
    if padding == "valid":
        padding = 0
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = tuple(t // 2 for t in total)
        if any(t % 2 for t in total):
            extra = [n for t in reversed(total) for n in (0, t % 2)]
            x = moved(call, x, lambda ids: pad(ids, extra), ".pad")
    padding = each(padding, dims)
    shape = call.shape
    conv = Conv(weight, stride, padding, dilation, groups)
    if bias is None:
        return call.add(conv, x, shape=shape)
    out = call.add(conv, x, shape=shape, suffix=".weight")
    return affine(call, out, 1.0, column(parameter(bias, "its bias"), dims))


def linear(call: Call, x: Node, weight: Any, bias: Any = None) -> Node:
    weight = parameter(weight, "its weight")
    if len(x.shape) == 1:
        shape = (weight.shape[0],)
        if bias is None:
            return call.add(Linear(weight), x, shape=shape)
        return affine(
            call, call.add(Linear(weight), x, shape=shape, suffix=".weight"), 1.0, parameter(bias, "its bias")
        )
    if len(x.shape) > 4:
        raise Refusal("a linear layer over more than 3 leading dimensions is not supported")
    # the features are the last logical dimension: a 1x1 convolution once they are moved to the channels
    x = moved(call, x, lambda ids: ids.movedim(-1, 1), ".in")
    dims = len(x.shape) - 1
    ones, zeros = (1,) * dims, (0,) * dims
    shape = (*x.shape[:-1], weight.shape[0])
    conv = Conv(weight.reshape(*weight.shape, *ones), ones, zeros, ones, 1)
    out = call.add(conv, x, shape=shape, suffix=".weight")
    if bias is not None:
        shift = parameter(bias, "its bias")
        out = call.add(Affine(torch.ones((), dtype=torch.float64), shift), out, shape=shape, suffix=".bias")
    return moved(call, out, lambda ids: ids.movedim(1, -1), ".out")


def matmul(call: Call, x: Any, y: Any) -> Node:
    if isinstance(x, Node) and isinstance(y, Node):
        return product(call, x, y)
    if not isinstance(x, Node) or isinstance(y, Node) or y.ndim != 2:
        raise Refusal(PRODUCT)
    return linear(call, x, y.T)


def addmm(call: Call, bias: Any, x: Any, y: Any, beta: float = 1, alpha: float = 1) -> Node:
    if not isinstance(x, Node) or isinstance(y, Node) or isinstance(bias, Node):
        raise Refusal(PRODUCT)
    return linear(call, x, y.T * alpha, (bias * beta).expand(y.shape[1]))
