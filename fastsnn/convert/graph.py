"""What a traced network is: a graph of linear maps, data movement, pooling and activations, on channels-last values.

Every value has a shape without its batch dimension, channels last: [H, W, C], [L, C] or [F].
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from fastsnn.neurons import Neuron as Rules
from fastsnn.program.potential import NUMBERS
from fastsnn.windows import Pooling, Shape


@dataclass(frozen=True)
class Input:
    """The network's input: numbers, or `spiking`, with other spikes at each step."""

    spiking: bool = False


@dataclass(frozen=True)
class Conv:
    """Convolution over 1 to 3 spatial dimensions: weight [O, C / groups, *kernel]; no bias, see Affine."""

    weight: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True)
class Linear:
    """weight [O, K] on values [K]; no bias, see Affine."""

    weight: Tensor


@dataclass(frozen=True)
class Affine:
    """scale * x + shift, each spreading over the value's shape from the right; batch norm and every bias."""

    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Add:
    """Sum of the inputs, each times its coefficient."""

    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class Window:
    """Weighted sums of windows of positions, every channel alike: index and weight [P_out, window], index -1 for none.

    pooling   the geometry, where every window has one weight for all positions, inside and outside; else None
    """

    index: Tensor
    weight: Tensor
    pooling: Pooling | None = None

    @property
    def even(self) -> bool:
        """Whether all that is in a window has one weight, in every window."""
        weight = self.weight[self.index >= 0]
        return bool((weight == weight[:1]).all())


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; `policy` says how spikes are pooled, see `fastsnn.convert.maxpool`."""

    pooling: Pooling
    policy: str = "dense"


@dataclass(frozen=True)
class Move:
    """Data movement: output element i is element index[i] of all inputs, flattened and joined; -1 is zero."""

    index: Tensor


@dataclass(frozen=True)
class Neuron:
    """A (clipped) ReLU: max(0, min(x, bound)), the bound per channel or one; None is no bound.

    given   the name of spiking neurons that the network has here already, see `Given`; None where there is a ReLU
    """

    bound: Tensor | None = None
    given: str | None = None


@dataclass(frozen=True)
class Given:
    """Spiking neurons that a network has already.

        V = leak V + gain I + drift;   where V >= threshold:   emits `worth`, V -= threshold (soft) or V = 0 (hard)

    threshold, gain, drift, start   float64, spreading over the channels-last shape; `start` is V before the first step
    worth                           of a spike, in the network's own units
    origin                          what V is measured from: 0 of it is this much in the network
    rules                           reset, comparator, leak
    """

    rules: Rules
    threshold: Tensor
    gain: Tensor
    drift: Tensor
    start: Tensor
    worth: Tensor
    origin: Tensor

    def numbers(self, shape: Shape) -> dict[str, Tensor]:
        """Those of a `PotentialLayer`, in which what drifts beside a synapse is one number with the rest."""
        drift = self.drift + self.threshold * getattr(self.rules, "drift", 0.0)
        found = {name: getattr(self, name) for name in NUMBERS} | {"drift": drift}
        return {name: reduced(value, shape) for name, value in found.items()}


@dataclass(frozen=True)
class Potential:
    """What the spiking neurons `given` hold at each step, from their input and, where they spike, their spikes.

    shows   one of `fastsnn.program.potential.SHOWN`
    """

    given: str
    shows: str


@dataclass(frozen=True)
class Function:
    """An operator that no spikes carry: see `FunctionLayer`, which has its arguments as they are here."""

    operator: str
    arguments: tuple[list[Any], dict[str, Any]]


@dataclass(frozen=True)
class Refused:
    """A node with no spiking form; `reason` says why, and is empty where only its inputs are at fault."""

    reason: str


Payload = Input | Conv | Linear | Affine | Add | Window | MaxPool | Move | Neuron | Potential | Function | Refused


@dataclass(frozen=True)
class Node:
    name: str
    payload: Payload
    inputs: tuple[str, ...]
    shape: Shape
    origin: str


@dataclass
class Graph:
    """Nodes in an order in which they can run, and the names of the outputs."""

    nodes: dict[str, Node] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def add(self, name: str, payload: Payload, inputs: tuple[str, ...], shape: Shape, origin: str) -> Node:
        unique, n = name, 0
        while unique in self.nodes:
            n += 1
            unique = f"{name}_{n}"
        self.nodes[unique] = Node(unique, payload, inputs, tuple(shape), origin)
        return self.nodes[unique]

    def users(self) -> dict[str, list[str]]:
        """Name -> the nodes that read it, once for each reading; an output counts as a reader.

        The potential of neurons that spike is none of what drives them, which it has computed once more.
        """
        users: dict[str, list[str]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            shown = isinstance(node.payload, Potential) and len(node.inputs) > 1
            for source in node.inputs[shown:]:
                users[source].append(node.name)
        for name in self.outputs:
            users[name].append("output")
        return users

    def driving(self) -> set[str]:
        """Nodes that some neuron, or a potential, depends on; the others run on the mean over time."""
        driving: set[str] = set()
        for node in reversed(self.nodes.values()):
            if node.name in driving or isinstance(node.payload, Neuron | Potential):
                driving.update((node.name, *node.inputs))
        return driving

    def timed(self) -> set[str]:
        """Nodes that change over time: neurons, inputs of spikes, and what depends on them."""
        timed: set[str] = set()
        for node in self.nodes.values():
            spikes = isinstance(node.payload, Neuron | Potential) or (
                isinstance(node.payload, Input) and node.payload.spiking
            )
            if spikes or timed.intersection(node.inputs):
                timed.add(node.name)
        return timed

    def renamed(self, names: dict[str, str]) -> "Graph":
        """Every node under its name in `names`."""
        nodes = [replace(n, name=names[n.name], inputs=tuple(names[i] for i in n.inputs)) for n in self.nodes.values()]
        return Graph({node.name: node for node in nodes}, [names[name] for name in self.outputs])

    def pruned(self) -> "Graph":
        """Without the nodes that no output needs."""
        needed = set(self.outputs)
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        return Graph({k: n for k, n in self.nodes.items() if k in needed or isinstance(n.payload, Input)}, self.outputs)


def channels_last(logical: Shape) -> Shape:
    """(C, *S) -> (*S, C)."""
    return (*logical[1:], logical[0]) if len(logical) > 1 else tuple(logical)


def reduced(values: Tensor, shape: Shape) -> Tensor:
    """A tensor that spreads over `shape`, cut down to one number or one a channel where it is constant beyond that."""
    full = values.expand(shape)
    if full.numel() == 0:
        return full.new_zeros(())
    flat = full.reshape(-1, shape[-1]) if shape else full.reshape(1, 1)
    if flat.numel() and torch.equal(flat, flat[:1].expand_as(flat)):
        channel = flat[0]
        return channel[0].clone() if torch.equal(channel, channel[:1].expand_as(channel)) else channel.clone()
    return full.clone()
