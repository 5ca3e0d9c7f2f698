"""Average pools of spikes without numbers that are kept over time: folded into the convolution or linear layer behind
them, or, where several layers read them or the two are no one map, counted."""

from collections.abc import Mapping, Set
from dataclasses import dataclass

import torch
from torch import Tensor

from fastsnn.convert.graph import Conv, Graph, Linear, Move, Node, Window
from fastsnn.convert.sums import ONE, ZERO, Pending, Stored, Summand, flattened, terms_of
from fastsnn.fused import fusable
from fastsnn.neurons import Adaptive, Synaptic
from fastsnn.program import CountLayer, Layer, NeuronLayer, PlaneLayer, Program, RouteLayer
from fastsnn.windows import Shape


@dataclass(frozen=True)
class Pools:
    """Of one graph that is lowered: its values and layers so far, who reads each node, and what neurons depend on."""

    graph: Graph
    values: Mapping[str, Stored | Pending]
    users: Mapping[str, list[str]]
    driving: Set[str]
    layers: dict[str, Layer]

    def waits(self, node: Node) -> bool:
        """Whether a movement of a pool is left to the linear layers behind it."""
        return self._flattens(node) and self._pool(node.inputs) is not None

    def shares(self, node: Node) -> bool:
        """Whether windows in `driving` may be a sum of moved spikes: not where linear layers take them whole."""
        return node.name in self.driving and not any(
            n in self.driving and self._flattens(self.graph.nodes[n]) for n in self.users[node.name]
        )

    def before(self, node: Node, payload: Conv | Linear | Window) -> Pending | None:
        """A convolution or linear layer with the pool of spikes before it, where the two are one linear map."""
        (name,) = node.inputs
        mover = self.graph.nodes[name]
        if isinstance(payload, Linear) and name not in self.values and isinstance(mover.payload, Move):
            found = self._pool(mover.inputs)
            if found is None:
                raise TypeError(f"{name} was left to {node.name}, which cannot take it")
            window, source = found
            shape = source.layer.shape
            folded = fold_linear(payload, mover.payload.index, window, shape[:-1], shape[-1])
            flat = flattened(mover.name, source, self.layers)
            names = (*mover.inputs, mover.name, node.name)
            return Pending((Summand(folded, flat, ONE, node.shape),), ZERO, node.shape, names)
        found = self._pool(node.inputs) if node.name in self.driving else None
        if found is None or found[1].unit.ndim > 1 or not isinstance(payload, Conv):
            return None
        window, source = found
        conv = fold_conv(payload, window, source.layer.shape[:-1])
        if conv is None:
            return None
        return Pending((Summand(conv, source, ONE, node.shape),), ZERO, node.shape, (name, node.name))

    def _flattens(self, node: Node) -> bool:
        """Whether it moves what nothing else reads, and only for linear layers in `driving`."""
        linear = (n in self.driving and isinstance(self.graph.nodes[n].payload, Linear) for n in self.users[node.name])
        return isinstance(node.payload, Move) and len(self.users[node.inputs[0]]) == 1 and all(linear)

    def _pool(self, names: tuple[str, ...]) -> tuple[Window, Stored] | None:
        """The pool that a single value is, see `pool_of`."""
        return pool_of(self.values.get(names[0])) if len(names) == 1 else None


def pool_of(value: Stored | Pending | None) -> tuple[Window, Stored] | None:
    """The pool that a value is, if it pools spikes and nothing else is done to them yet."""
    if not isinstance(value, Pending) or len(value.summands) > 1 or not torch.equal(value.bias, ZERO):
        return None
    (only,) = value.summands
    plain = torch.equal(only.scale, ONE) and only.source.layer.spiking
    return (only.payload, only.source) if plain and isinstance(only.payload, Window) else None


def counts_of(name: str, value: Pending) -> Stored | None:
    """A pool of spikes as a layer that counts them, with what a spike counts in its unit.

    None for anything else, and where windows differ in what they multiply with: a convolution cannot.
    """
    (pool, *more) = value.summands
    source, window = pool.source, pool.payload
    if more or not isinstance(window, Window) or not source.layer.spiking or max(source.unit.ndim, pool.scale.ndim) > 1:
        return None
    weight = window.weight[window.index >= 0]
    if not weight.numel() or not window.even:
        return None
    layer = CountLayer(name, value.shape, value.folded, source.layer, window.index, window.pooling)
    _, offset = terms_of(value, ONE)
    return Stored(layer, source.unit * pool.scale * weight[0], offset)


def counts_among_numbers(program: Program) -> set[str]:
    """Counted pools that are read for numbers of each step, or together with such: one map over numbers is less work
    than one for each digit.
    """
    layers, found = program.layers, set[str]()
    numbers = {name for name in program.inner() & program.timed() if not layers[name].spiking}

    def stepwise(layer: NeuronLayer) -> bool:
        spikes = [term for term in layer.terms if layers[term.source].spiking]
        own = isinstance(layer.neuron, Adaptive | Synaptic)
        return own or bool(numbers.intersection(layer.sources)) or not fusable(spikes, layer.shape, True)

    for name, layer in layers.items():
        if name in numbers or (isinstance(layer, NeuronLayer) and stepwise(layer)):
            found.update(*(counts_in(source, layers) for source in layer.sources))
    return found


def counts_in(name: str, layers: Mapping[str, Layer]) -> set[str]:
    """The counted pools whose digits a layer is, moved or not."""
    layer = layers[name]
    if isinstance(layer, CountLayer):
        return {name}
    moves = isinstance(layer, PlaneLayer | RouteLayer)
    return set().union(*(counts_in(source, layers) for source in layer.sources)) if moves else set()


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
