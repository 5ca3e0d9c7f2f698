"""Norms: by statistics that are known they are part of the weights, by those of the sample a function of it."""

from typing import Any

import torch

from fastsnn.convert.graph import Node
from fastsnn.convert.rules.call import Call, Refusal, affine, column, parameter
from fastsnn.convert.rules.function import function
from fastsnn.convert.rules.reasons import REASONS


def batch_norm(call: Call, x: Node, weight: Any, bias: Any, mean: Any, var: Any, *rest: Any) -> Node:
    # rest is (training, momentum, eps, cudnn) or (momentum, eps), by the operator's variant
    training, eps = (rest[0], rest[2]) if len(rest) == 4 else (False, rest[1])
    if mean is None or var is None or training:
        raise Refusal(REASONS["_native_batch_norm_legit"])
    scale = torch.rsqrt(var + eps) * (1.0 if weight is None else weight)
    shift = (0.0 if bias is None else bias) - mean * scale
    dims = len(x.shape) - 1
    return affine(call, x, column(scale, dims), column(shift, dims))


def layer_norm(call: Call, x: Node, shape: Any, weight: Any = None, bias: Any = None, *rest: Any) -> Node:
    return _scaled(call, function(call, x, shape, None, None, *rest), weight, bias)


def rms_norm(call: Call, x: Node, shape: Any, weight: Any = None, *rest: Any) -> Node:
    return _scaled(call, function(call, x, shape, None, *rest), weight, None)


def group_norm(call: Call, x: Node, groups: int, weight: Any = None, bias: Any = None, *rest: Any) -> Node:
    return _scaled(call, function(call, x, groups, None, None, *rest), *_columns(x, weight, bias))


def instance_norm(call: Call, x: Node, weight: Any, bias: Any, mean: Any, var: Any, own: bool, *rest: Any) -> Node:
    if not own:
        return batch_norm(call, x, weight, bias, mean, var, own, *rest)
    return _scaled(call, function(call, x, None, None, None, None, True, *rest), *_columns(x, weight, bias))


def _columns(x: Node, *values: Any) -> list[Any]:
    dims = len(x.shape) - 1
    return [value if value is None else column(parameter(value, "its weight"), dims) for value in values]


def _scaled(call: Call, x: Node, weight: Any, bias: Any) -> Node:
    """x times a weight that spreads over (C, *S), and a bias."""
    if weight is None and bias is None:
        return x
    given = (1.0 if weight is None else parameter(weight, "its weight"), 0.0 if bias is None else bias)
    return affine(call, x, given[0], parameter(given[1], "its bias"))
