"""ReLU in every spelling, with and without an upper bound."""

from typing import Any

import torch
from torch import Tensor

from fastsnn.convert.graph import Neuron, Node, Potential
from fastsnn.convert.rules.call import Call, Refusal, per_sample


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
    if low is None or isinstance(low, Node) or bool((torch.as_tensor(low) != 0).any()):
        raise Refusal(f"a clamp has a spiking form only from 0 upwards, got a lower bound of {_short(low)}")
    return _bounded(call, x, high)


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
    _require_constant(x, y)
    node, other = (x, y) if isinstance(x, Node) else (y, x)
    return clamp(call, node, other)


def minimum(call: Call, x: Any, y: Any = None, *rest: Any) -> Node:
    _require_constant(x, y)
    node, other = (x, y) if isinstance(x, Node) else (y, x)
    return clamp(call, node, None, other)


def threshold(call: Call, x: Node, threshold: float, value: float) -> Node:
    if threshold != 0 or value != 0:
        raise Refusal(f"threshold({threshold}, {value}) is not a ReLU; only threshold(0, 0) is")
    return relu(call, x)


def leaky_relu(call: Call, x: Node, slope: float = 0.01) -> Node:
    if slope != 0:
        raise Refusal(f"leaky ReLU with slope {slope} has negative outputs, which one spike cannot carry")
    return relu(call, x)


def _require_constant(x: Any, y: Any) -> None:
    if not (isinstance(x, Tensor) or isinstance(y, Tensor)):
        raise Refusal("a maximum or minimum has a spiking form only against a constant: 0 below, a bound above")


def dropout(call: Call, x: Node, p: float, train: bool) -> Node:
    if train and p > 0:
        raise Refusal(
            "this dropout is active in eval mode (F.dropout without training=self.training), its output random"
        )
    return x
