"""How a graph becomes a program: linear maps are summed, batch norms, scales and thresholds folded into weights.

Every value is kept as  real = unit * stored + offset.  A neuron stores spikes of 1 and its unit is its threshold;
whatever is affine (batch norm alone, a scale, a bias) only changes unit and offset; a linear map takes its source's
unit into its weights and its source's offset into its bias, and a neuron divides by its own threshold:

    W' = W * unit_in / threshold_out,    b' = (W * offset_in + b) / threshold_out

which is the equivalence of threshold scaling and weight normalisation (Bu et al., AAAI 2022).
"""

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fastsnn.convert import movement
from fastsnn.convert.composed import Composer
from fastsnn.convert.graph import (
    Add,
    Affine,
    Conv,
    Function,
    Given,
    Graph,
    Input,
    Linear,
    MaxPool,
    Move,
    Neuron,
    Node,
    Potential,
    Window,
    reduced,
)
from fastsnn.convert.pooled import Pools, counts_among_numbers, counts_in, counts_of
from fastsnn.convert.shares import shared
from fastsnn.convert.sums import ONE, ZERO, Pending, Stored, Summand, filled, mapped, terms_of, times
from fastsnn.neurons import Neuron as Rules
from fastsnn.program import (
    FunctionLayer,
    GateLayer,
    InputLayer,
    Layer,
    MaxPoolLayer,
    NeuronLayer,
    PotentialLayer,
    Program,
    RouteLayer,
    ValueLayer,
)
from fastsnn.program.operators import Place, plain
from fastsnn.program.planes import expanded
from fastsnn.windows import Pooling


def lower(
    graph: Graph, units: Mapping[str, Tensor], neuron: Rules, given: Mapping[str, Given] | None = None
) -> Program:
    """The program of `graph`, float64; units[name] is the threshold of neuron `name`, one number or [C].

    given   what neurons are that the network has already, by the name in `graph.Neuron`; functions are then those of
            each step, not of means over time

    Raises ConversionError for what neurons of several planes cannot be followed by.
    """
    uncounted: set[str] = set()
    while True:
        program = _Lowering(graph, units, neuron, given, uncounted).run()
        found = counts_among_numbers(program)
        if not found:
            return program
        uncounted |= found


class _Lowering:
    """One way through a graph; `uncounted` are the pools of spikes that are numbers at every step all the same."""

    def __init__(
        self,
        graph: Graph,
        units: Mapping[str, Tensor],
        neuron: Rules,
        given: Mapping[str, Given] | None,
        uncounted: Set[str],
    ) -> None:
        self.graph, self.units, self.neuron, self.uncounted = graph, units, neuron, uncounted
        self.given, self.stepwise = given or {}, given is not None
        self.users = graph.users()
        self.values: dict[str, Stored | Pending] = {}
        self.layers: dict[str, Layer] = {}
        self.driving, self.timed = graph.driving(), graph.timed()
        self.composer = Composer(graph, self.values, self.users, self.driving)
        self.pools = Pools(graph, self.values, self.users, self.driving, self.layers)

    def run(self) -> Program:
        for node in self.graph.nodes.values():
            if not self.waits(node):
                self.values[node.name] = self.visit(node)
        outputs = [self.plain(name).layer.name for name in self.graph.outputs]
        return Program(expanded(list(self.layers.values())), outputs)

    def visit(self, node: Node) -> Stored | Pending:
        match node.payload:
            case Input(spiking):
                return Stored(self.add(InputLayer(node.name, node.shape, (node.name,), spiking)))
            case Conv() | Linear() | Window():
                return self.linear(node, node.payload)
            case Affine(scale, shift):
                return self.affine(node, scale, shift)
            case Add(coefficients):
                return self.sum(node, coefficients)
            case Move(index):
                return self.move(node, index)
            case MaxPool(pooling, policy):
                return self.max_pool(node, pooling, policy)
            case Neuron(given=str(name)):
                return self.spike(node, self.given[name])
            case Potential(name, shows):
                return self.integrate(node, self.given[name], shows)
            case Neuron(bound):
                return self.fire(node, bound)
            case Function(operator, arguments):
                return self.apply(node, operator, arguments)
        raise TypeError(f"no lowering for {type(node.payload).__name__}")

    def waits(self, node: Node) -> bool:
        """Whether a movement is left to the linear layers behind it, which take it and what is before it in one."""
        return self.composer.waits(node) or self.pools.waits(node)

    def linear(self, node: Node, payload: Conv | Linear | Window) -> Pending:
        pending = self.pools.before(node, payload)
        if pending is None and isinstance(payload, Conv) and node.name in self.driving:
            pending = self.composer.behind(node, payload)
        if pending is None and isinstance(payload, Window) and node.name in self.driving:
            pending = self.composer.pooled(node, payload)
        if pending is None and isinstance(payload, Window) and self.pools.shares(node):
            pending = shared(node, payload, self.stored(node.inputs[0]), self.layers)
        if pending is not None:
            return pending
        value = self.values[node.inputs[0]]
        if isinstance(value, Pending) and value.sparse and not isinstance(payload, Window):
            summands = tuple(mapped(payload, s, node.shape) for s in value.summands)
            return Pending(summands, ZERO, node.shape, (*value.folded, node.name))
        source = self.stored(node.inputs[0])
        if isinstance(payload, Conv | Window) and source.unit.ndim > 1:
            source = self.plain(node.inputs[0])
        return Pending((Summand(payload, source, ONE, node.shape),), ZERO, node.shape, (node.name,))

    def affine(self, node: Node, scale: Tensor, shift: Tensor) -> Stored | Pending:
        (name,) = node.inputs
        value = self.values[name]
        alone = len(self.users[name]) == 1
        if isinstance(value, Pending) and alone and not (scale.ndim > 1 and any(s.per_channel for s in value.summands)):
            summands = tuple(replace(s, scale=times(s.scale, scale, node.shape)) for s in value.summands)
            bias = reduced(value.bias * scale + shift, node.shape)
            return Pending(summands, bias, node.shape, (*value.folded, node.name))
        stored = self.stored(name)
        unit = times(stored.unit, scale, node.shape)
        return Stored(stored.layer, unit, reduced(stored.offset * scale + shift, node.shape))

    def sum(self, node: Node, coefficients: tuple[float, ...]) -> Pending:
        summands: list[Summand] = []
        bias: Tensor = ZERO
        folded: list[str] = []
        for name, coefficient in zip(node.inputs, coefficients, strict=True):
            value = self.values[name]
            if not (isinstance(value, Pending) and self.composer.passes(name, value)):
                value = Pending((Summand(None, self.stored(name), ONE, node.shape),), ZERO, node.shape, ())
            summands += [replace(s, scale=s.scale * coefficient) for s in value.summands]
            bias = bias + value.bias * coefficient
            folded += value.folded
        return Pending(tuple(summands), reduced(bias, node.shape), node.shape, (*folded, node.name))

    def move(self, node: Node, index: Tensor) -> Stored:
        sources = [self.stored(name) for name in node.inputs]
        mixed = len({s.layer.amplitudes for s in sources}) > 1
        counts = any(counts_in(s.layer.name, self.layers) for s in sources)
        if not all(s.layer.spiking for s in sources) or (mixed and counts):
            sources = [self.plain(name) for name in node.inputs]
        elements = sum(torch.Size(s.layer.shape).numel() for s in sources)
        flat = torch.where(index.flatten() < 0, elements, index.flatten())

        def moved(values: list[Tensor], outside: float) -> Tensor:
            parts = [v.expand(s.layer.shape).reshape(-1) for v, s in zip(values, sources, strict=True)]
            joined = torch.cat([*parts, torch.full((1,), outside, dtype=torch.float64)])
            return joined[flat].reshape(node.shape)

        unit = reduced(filled(moved([s.unit for s in sources], 1.0), index.reshape(node.shape) >= 0), node.shape)
        offset = reduced(moved([s.offset for s in sources], 0.0), node.shape)
        if all(u.unit.ndim == 0 and torch.equal(u.unit, sources[0].unit) for u in sources):
            unit = sources[0].unit
        order = None if len(sources) == 1 and movement.is_identity(index, sources[0].layer.shape) else index
        layers = [s.layer for s in sources]
        return Stored(self.add(RouteLayer(node.name, node.shape, (node.name,), layers, order)), unit, offset)

    def max_pool(self, node: Node, pooling: Pooling, policy: str) -> Stored:
        stored = self.stored(node.inputs[0])
        gated = policy != "dense" and stored.layer.spiking and stored.unit.ndim < 2
        gated = gated and not counts_in(stored.layer.name, self.layers)
        # what is added to a channel everywhere decides nothing in it
        if gated and stored.offset.ndim < 2 and bool((stored.unit > 0).all()):
            gate = GateLayer(node.name, node.shape, (node.name,), stored.layer, pooling, policy)
            return Stored(self.add(gate), stored.unit, stored.offset)
        if policy in ("lateral", "gate") and node.name in self.driving and node.inputs[0] in self.timed:
            given = plain([Place(0), *vars(pooling).values()])
            return self.apply(node, f"aten.max_pool{len(pooling.kernel)}d.default", (given, {}))
        source = self.plain(node.inputs[0]).layer
        return Stored(self.add(MaxPoolLayer(node.name, node.shape, (node.name,), source, pooling)))

    def fire(self, node: Node, bound: Tensor | None) -> Stored:
        unit = self.units[node.name].to(torch.float64)
        value = self.current(node)
        terms, bias = terms_of(value, unit)
        ceiling = torch.full((), torch.inf, dtype=torch.float64) if bound is None else bound / unit
        folded = (*value.folded, node.name)
        layer = NeuronLayer(node.name, node.shape, folded, terms, bias, unit, ceiling, self.neuron)
        return Stored(self.add(layer), unit)

    def spike(self, node: Node, given: Given) -> Stored:
        """Neurons that are there already: only what they are driven with is divided by their threshold."""
        value = self.current(node)
        terms, bias = terms_of(value, given.threshold / given.gain)
        bias = reduced(bias + given.drift / given.threshold, node.shape)
        ceiling = torch.full((), torch.inf, dtype=torch.float64)
        folded = (*value.folded, node.name)
        layer = NeuronLayer(node.name, node.shape, folded, terms, bias, given.worth, ceiling, given.rules)
        layer.initial_potential = reduced(given.start / given.threshold, node.shape)
        return Stored(self.add(layer), given.worth)

    def integrate(self, node: Node, given: Given, shows: str) -> Stored:
        """What neurons hold at each step; what drives them is computed once more for it, as numbers."""
        source, *spikes = node.inputs
        read, fired = self.plain(source).layer.name, self.stored(spikes[0]).layer.name if spikes else None
        more = (shows, given.rules, given.numbers(node.shape))
        return Stored(self.add(PotentialLayer(node.name, node.shape, (node.name,), read, fired, *more)))

    def apply(self, node: Node, operator: str, arguments: Any) -> Stored:
        """Of means over time, or, in a network with neurons of its own, of each step."""
        sources = [self.plain(name).layer.name for name in node.inputs]
        how = (operator, arguments, self.stepwise)
        return Stored(self.add(FunctionLayer(node.name, node.shape, (node.name,), sources, *how)))

    def current(self, node: Node) -> Pending:
        """What drives neurons, as a sum that is theirs alone."""
        (name,) = node.inputs
        value = self.values[name]
        if isinstance(value, Pending) and len(self.users[name]) == 1:
            return value
        return Pending((Summand(None, self.stored(name), ONE, node.shape),), ZERO, node.shape, ())

    def stored(self, name: str) -> Stored:
        """The value as a layer's result, made one if it is still a sum."""
        value = self.values[name]
        if isinstance(value, Pending):
            counts = counts_of(name, value) if name in self.driving - self.uncounted else None
            if counts is not None:
                self.add(counts.layer)
                value = counts
            else:
                terms, bias = terms_of(value, ONE)
                value = Stored(self.add(ValueLayer(name, value.shape, value.folded, terms, bias)))
            self.values[name] = value
        return value

    def plain(self, name: str) -> Stored:
        """The value as numbers in real units, no spikes and nothing left to multiply or add."""
        stored = self.stored(name)
        if stored.plain:
            return stored
        key = f"{name}.value"
        known = self.values.get(key)
        if not isinstance(known, Stored):
            shape = self.graph.nodes[name].shape
            pending = Pending((Summand(None, stored, ONE, shape),), ZERO, shape, (name,))
            terms, bias = terms_of(pending, ONE)
            known = self.values[key] = Stored(self.add(ValueLayer(key, shape, pending.folded, terms, bias)))
        return known

    def add(self, layer: Layer) -> Layer:
        self.layers[layer.name] = layer
        return layer
