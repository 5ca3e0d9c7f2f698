"""What became of each node of the network that was converted, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from fastsnn.convert.dense_macs import DenseMacs, Macs
from fastsnn.convert.graph import Graph, MaxPool
from fastsnn.program import (
    ConvTerm,
    CountLayer,
    FunctionLayer,
    GateLayer,
    InputLayer,
    Layer,
    LinearTerm,
    MaxPoolLayer,
    NeuronLayer,
    PlaneLayer,
    PotentialLayer,
    Program,
    RouteLayer,
    ScaleTerm,
    Term,
    ValueLayer,
    WindowTerm,
)
from fastsnn.program.operators import short

# where an operator is that no submodule holds
TOP = "the top module"
TERMS = {ConvTerm: "conv", LinearTerm: "linear", ScaleTerm: "identity", WindowTerm: "windows"}


@dataclass(frozen=True)
class Row:
    """One layer: its name, what it is, from which operators, its shape (C, *S), its threshold, and a remark.

    modules   paths of the dense network's modules that it stands for
    macs      multiplications of these for one image
    """

    layer: str
    kind: str
    replaces: str
    shape: tuple[int, ...]
    threshold: str
    remark: str
    modules: tuple[str, ...]
    macs: Macs


@dataclass(frozen=True)
class Report:
    """One row a layer, and the settings of the conversion; str() is a table."""

    title: str
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        header = ("layer", "became", "from", "shape", "threshold", "remark")
        rows = [(r.layer, r.kind, r.replaces, _size(r.shape), r.threshold, r.remark) for r in self.rows]
        return lined(self.title, header, rows)


def lined(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of columns that are as wide as their longest cell."""
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([title, lines[0], "-" * max(map(len, lines)), *lines[1:]])


def describe(
    program: Program,
    graph: Graph,
    title: str,
    max_pool: str,
    wide: Mapping[str, str] | None = None,
    differ: Mapping[str, float] | None = None,
    head: str = "once, on the mean over time",
) -> Report:
    """The report of a program that was lowered from `graph`.

    wide    layers whose weights stay wider than the precision says, and why
    differ  share of each layer's spikes that the precision changed
    head    when the layers run that no neuron depends on
    """
    wide, differ = wide or {}, differ or {}
    inner, timed = program.inner(), program.timed()
    macs, rows = DenseMacs(graph), []
    for name, layer in program.layers.items():
        if isinstance(layer, InputLayer | PlaneLayer):
            continue
        origins = [graph.nodes[n].origin for n in layer.folded if n in graph.nodes]
        parts = [origin.split(" in ") for origin in origins if not origin.startswith("weight of ")]
        operators = [part[0] for part in parts]
        shape = (layer.shape[-1], *layer.shape[:-1])
        remarks = [_remark(layer, graph, max_pool, inner, timed, head)]
        if name in wide:
            kept = layer.bias.dtype if isinstance(layer, NeuronLayer) else torch.int32
            remarks.append(f"{str(kept).removeprefix('torch.')}: {wide[name]}")
        if name in differ:
            remarks.append(f"{differ[name]:.2%} of spikes changed by rounding")
        rows.append(
            Row(
                name,
                _kind(layer, name in inner, program.layers),
                "+".join(operators),
                shape,
                _threshold(layer),
                "; ".join(filter(None, remarks)),
                tuple(dict.fromkeys(part[1] for part in parts if part[1] != TOP)),
                macs.of(layer.folded),
            )
        )
    return Report(title, tuple(rows))


def _kind(layer: Layer, inner: bool, layers: Mapping[str, Layer]) -> str:
    if isinstance(layer, NeuronLayer):
        return "+".join(_terms(layer.terms, layers)) + " + IF"
    if isinstance(layer, GateLayer):
        return f"max pool of spikes ({layer.policy})"
    if isinstance(layer, CountLayer):
        return "pool of spikes (counts)"
    if isinstance(layer, MaxPoolLayer):
        return "max pool"
    if isinstance(layer, RouteLayer):
        return "route of spikes" if layer.spiking and inner else "route"
    if isinstance(layer, FunctionLayer):
        return short(layer.operator)
    if isinstance(layer, PotentialLayer):
        return "membrane potential" if layer.shows != "current" else "synaptic current"
    if isinstance(layer, ValueLayer):
        return "+".join(_terms(layer.terms, layers))
    return type(layer).__name__


def _terms(terms: list[Term], layers: Mapping[str, Layer]) -> list[str]:
    """In words, those that read planes of the same neurons once."""
    sources = [layers[term.source] for term in terms]
    return [
        TERMS[type(term)]
        for term, source in zip(terms, sources, strict=True)
        if not isinstance(source, PlaneLayer) or source.plane == 0
    ]


def _threshold(layer: Layer) -> str:
    if not isinstance(layer, NeuronLayer):
        return ""
    unit = layer.unit
    if unit.numel() == 1:
        return f"{unit.item():.4g}"
    return f"{unit.min().item():.3g}..{unit.max().item():.3g}"


def _remark(layer: Layer, graph: Graph, max_pool: str, inner: set[str], timed: set[str], head: str) -> str:
    remarks = []
    if isinstance(layer, NeuronLayer):
        if not timed.intersection(layer.sources):
            remarks.append("constant current, computed once")
        if len(layer.neuron.firing.planes) > 1:
            remarks.append("emits " + " ".join(f"{amplitude:+d}" for amplitude in layer.neuron.firing.amplitudes))
        sources = [graph.nodes[name].payload for name in layer.sources if name in graph.nodes]
        if any(isinstance(payload, MaxPool) and payload.policy == "dense" for payload in sources):
            remarks.append("max pool before the neuron")
    elif layer.name not in inner:
        remarks.append(head)
    elif layer.name not in timed:
        remarks.append("once, constant over time")
    elif isinstance(layer, MaxPoolLayer) and not layer.spiking:
        remarks.append("largest number of each step")
    elif isinstance(layer, FunctionLayer) and not layer.stepwise:
        remarks.append("of means over the steps so far")
    elif isinstance(layer, ValueLayer | PotentialLayer | FunctionLayer):
        remarks.append("numbers at every step")
    if max_pool == "average" and any("max_pool" in graph.nodes[n].origin for n in layer.folded if n in graph.nodes):
        remarks.append("max pool replaced by average pool: equal only if trained so")
    return "; ".join(remarks)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
