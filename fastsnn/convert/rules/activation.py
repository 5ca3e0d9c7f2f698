"""ReLU in every spelling, with and without an upper bound."""

from typing import Any

import torch
from torch import Tensor

from fastsnn.convert.graph import Add, Affine, Neuron, Node, Potential
from fastsnn.convert.rules.call import RANDOM, Call, Refusal, affine, column, parameter, per_sample
from fastsnn.convert.rules.function import function, over


def relu(call: Call, x: Node) -> Node:
    # a ReLU of a ReLU is that ReLU: a second neuron would only add its error
    return x if isinstance(x.payload, Neuron) else call.add(Neuron(), x)


def spiking(call: Call, x: Node, state: Any, name: str) -> Node:
    return call.add(Neuron(given=name), x)


def potential(call: Call, x: Node, spikes: Node | None, state: Any, name: str, shows: str) -> Node:
    if spikes is None:
        return call.add(Potential(name, shows), x)
    return call.graph.add(f"{name}.{shows}", Potential(name, shows), (x.name, spikes.name), call.shape, call.origin)


def clamp(call: Call, x: Node, low: Any = None, high: Any = None) -> Node:
    if low is None and high is not None and isinstance(x.payload, Neuron):
        return _bounded(call, x, high)
    if low is None or isinstance(low, Node):
        raise Refusal(f"a clamp has a spiking form only from a constant upwards, got a lower bound of {_short(low)}")
    if not bool((torch.as_tensor(low) != 0).any()):
        return _bounded(call, x, high)
    # max(low, x) = max(0, x - low) + low
    least = torch.as_tensor(low, dtype=torch.float64)
    most = high if high is None or isinstance(high, Node) else torch.as_tensor(high, dtype=torch.float64) - least
    return affine(call, _bounded(call, affine(call, x, 1.0, -least), most), 1.0, least)


def _bounded(call: Call, x: Node, high: Any) -> Node:
    if high is None:
        return relu(call, x)
    if isinstance(high, Node):
        raise Refusal("its upper bound depends on the input")
    bound = per_sample(high, call.logical)
    if bound.ndim > 1 or not bool((bound > 0).all()):
        raise Refusal(f"an upper bound must be positive, one or one a channel, got {_short(high)}")
    if isinstance(x.payload, Neuron):
        if x.payload.bound is not None:
            bound = torch.minimum(bound, x.payload.bound)
        return call.add(Neuron(bound), call.graph.nodes[x.inputs[0]])
    return call.add(Neuron(bound), x)


def _short(value: Any) -> str:
    return f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) and value.numel() > 1 else f"{value}"


def hardtanh(call: Call, x: Node, low: float = -1.0, high: float = 1.0) -> Node:
    return clamp(call, x, low, high)


def maximum(call: Call, x: Any, y: Any = None, *rest: Any) -> Node:
    if isinstance(x, Node) and isinstance(y, Node):
        return function(call, x, y)
    if isinstance(x, Node) and isinstance(y, int):
        # over a dimension, of which the places of the largest are the second result
        return over(call, x, y, *rest)
    _require_constant(x, y)
    node, other = (x, y) if isinstance(x, Node) else (y, x)
    return clamp(call, node, other)


def minimum(call: Call, x: Any, y: Any = None, *rest: Any) -> Node:
    if isinstance(x, Node) and isinstance(y, Node):
        return function(call, x, y)
    _require_constant(x, y)
    node, other = (x, y) if isinstance(x, Node) else (y, x)
    return clamp(call, node, None, other)


def threshold(call: Call, x: Node, threshold: float, value: float) -> Node:
    if threshold != 0 or value != 0:
        raise Refusal(f"threshold({threshold}, {value}) is not a ReLU; only threshold(0, 0) is")
    return relu(call, x)


def leaky_relu(call: Call, x: Node, slope: float = 0.01) -> Node:
    return relu(call, x) if slope == 0 else _two_sided(call, x, torch.tensor(slope, dtype=torch.float64))


def rrelu(call: Call, x: Node, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, *rest: Any) -> Node:
    if training:
        raise Refusal(RANDOM)
    return leaky_relu(call, x, (lower + upper) / 2)


def prelu(call: Call, x: Node, weight: Any) -> Node:
    slopes = parameter(weight, "its slope")
    return _two_sided(call, x, slopes if slopes.numel() == 1 else column(slopes, len(x.shape) - 1))


def _two_sided(call: Call, x: Node, slope: Tensor) -> Node:
    """max(0, x) - slope * max(0, -x): one neuron for each side, since a spike carries no sign."""
    one = torch.ones((), dtype=torch.float64)
    above = call.add(Neuron(), x, suffix=".above")
    negated = call.add(Affine(-one, torch.zeros_like(one)), x, suffix=".negated")
    below = affine(call, call.add(Neuron(), negated, suffix=".below"), slope)
    return call.add(Add((1.0, -1.0)), above, below)


def _require_constant(x: Any, y: Any) -> None:
    if not (isinstance(x, Tensor) or isinstance(y, Tensor)):
        raise Refusal("a maximum or minimum has a spiking form only against a constant: 0 below, a bound above")


def dropout(call: Call, x: Node, p: float, train: bool) -> Node:
    if train and p > 0:
        raise Refusal(
            "this dropout is active in eval mode (F.dropout without training=self.training), its output random"
        )
    return x
