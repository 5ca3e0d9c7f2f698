"""What the layers of a program are: what they read, what spikes reach in them, what they multiply."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from torch import Tensor

from fastsnn.convert.report import Row
from fastsnn.profile.counts import Reach
from fastsnn.profile.schema import Macs
from fastsnn.program import (
    CountLayer,
    FunctionLayer,
    GateLayer,
    InputLayer,
    Layer,
    MaxPoolLayer,
    NeuronLayer,
    PlaneLayer,
    Program,
    RouteLayer,
    ScaleTerm,
    Term,
    ValueLayer,
)
from fastsnn.program.connections import fan_out, is_pooling, spread, window_reach
from fastsnn.program.function import products


@dataclass(frozen=True)
class Facts:
    """One layer, apart from what is counted.

    shape     of its result, (C, *S)
    neurons   how many, or 0
    weights   how many, with biases
    inputs    numbers or spikes that it reads at a step, for one image
    modules   paths of the modules of the dense network that it stands for
    others    see `schema.Layer`
    """

    name: str
    kind: str
    role: str
    shape: tuple[int, ...]
    neurons: int
    reaches: tuple[Reach, ...]
    macs: tuple[Macs, ...]
    dense_macs: int
    dense_macs_with_borders: int
    weights: int
    inputs: int
    modules: tuple[str, ...] = ()


def layout(program: Program, report: Iterable[Row], T: int, stepwise: bool) -> list[Facts]:
    """Every layer of a program but its input, in order.

    report    has a row for each
    stepwise  what is behind the last neurons runs at each step, not once on the mean over them
    """
    reader = _Reader(program, T, stepwise)
    rows = {row.layer: row for row in report}
    found = []
    for name, layer in program.layers.items():
        if isinstance(layer, InputLayer | PlaneLayer):
            continue
        row = rows[name]
        neurons = prod(layer.shape) if isinstance(layer, NeuronLayer) else 0
        reaches, macs = reader.read(layer)
        found.append(
            Facts(
                name,
                row.kind,
                reader.role(layer),
                row.shape,
                neurons,
                tuple(reaches),
                tuple(macs),
                row.macs.existing,
                row.macs.with_borders,
                weights(layer),
                sum(prod(program.layers[source].shape) for source in layer.sources),
                row.modules,
            )
        )
    return found


def roots(facts: list[Facts], program: Program) -> list[str]:
    """Layers whose spikes have to be seen: all neurons, and the max pools that something reads."""
    read = {reach.root for layer in facts for reach in layer.reaches}
    return [n for n, la in program.layers.items() if isinstance(la, NeuronLayer) or n in read]


def weights(layer: Layer) -> int:
    """Numbers among the weights and biases of a layer, as it is after conversion."""
    if not isinstance(layer, NeuronLayer | ValueLayer):
        return 0
    return layer.bias.numel() + sum(term.weight.numel() for term in layer.terms)


class _Reader:
    def __init__(self, program: Program, T: int, stepwise: bool) -> None:
        self.layers, self.T, self.stepwise = program.layers, T, stepwise
        self.inner, self.timed = program.inner(), program.timed()

    def role(self, layer: Layer) -> str:
        if layer.name not in self.inner and not isinstance(layer, NeuronLayer):
            return "readout"
        if isinstance(layer, NeuronLayer):
            return "spiking" if self.timed.intersection(layer.sources) else "first"
        if isinstance(layer, MaxPoolLayer | CountLayer):
            return "pool"
        return "route" if isinstance(layer, RouteLayer) else "numbers"

    def read(self, layer: Layer) -> tuple[list[Reach], list[Macs]]:
        """What spikes reach in a layer, and what it multiplies for numbers that are no spikes."""
        if isinstance(layer, GateLayer | CountLayer):
            windows = window_reach(layer, self.layers[layer.source].shape)
            return self.reached("pooling", layer.source, windows), []
        if isinstance(layer, MaxPoolLayer):
            windows = window_reach(layer, self.layers[layer.source].shape)
            return [], [self.numbers(layer, layer.source, windows, "comparisons")]
        reaches: list[Reach] = []
        macs: list[Macs] = []
        if isinstance(layer, FunctionLayer):
            read = [self.layers[source].shape for source in layer.sources]
            once = products(layer.operator, layer.arguments[0], read, layer.shape)
            timed = next((source for source in layer.sources if source in self.timed), layer.sources[0])
            return [], [self.multiplied(layer, timed, once)] if once else []
        for term in layer.terms if isinstance(layer, NeuronLayer | ValueLayer) else ():
            connections = fan_out(term, self.layers[term.source].shape)
            if self.layers[term.source].spiking:
                reaches += self.reached(_kind(term), term.source, connections)
            else:
                macs.append(self.numbers(layer, term.source, connections))
        return reaches, macs

    def reached(self, kind: str, source: str, connections: Tensor) -> list[Reach]:
        found = spread(source, connections, self.layers)
        # planes are of one source
        read = self.layers[source]
        known = read.source if isinstance(read, PlaneLayer) else source
        return [Reach(kind, known, root, reach) for root, reach in found.items()]

    def numbers(self, layer: Layer, source: str, connections: Tensor, kind: str | None = None) -> Macs:
        return self.multiplied(layer, source, int(connections.sum()), kind)

    def multiplied(self, layer: Layer, source: str, once: int, kind: str | None = None) -> Macs:
        over_time = source in self.timed and (self.stepwise or layer.name in self.inner)
        usual = "readout" if layer.name not in self.inner else "numbers" if over_time else "first layer"
        return {"kind": kind or usual, "source": source, "once": once, "times": self.T if over_time else 1}


def _kind(term: Term) -> str:
    if isinstance(term, ScaleTerm):
        return "residual"
    return "pooling" if is_pooling(term) else "synapses"
