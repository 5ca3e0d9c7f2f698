"""Layers of a program as plain data and tensors, and back."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from fastsnn.firing import Plane
from fastsnn.neurons import IF, Adaptive, Graded, Neuron, Synaptic
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
    RouteLayer,
    ScaleTerm,
    Term,
    ValueLayer,
    WindowTerm,
)
from fastsnn.program.potential import NUMBERS
from fastsnn.windows import Pooling

Data = dict[str, Any]
NEURONS: dict[str, Callable[..., Neuron]] = {kind.__name__: kind for kind in (IF, Graded, Adaptive, Synaptic)}
TERMS = {kind.__name__: kind for kind in (ConvTerm, LinearTerm, ScaleTerm, WindowTerm)}
# of neurons, beside the bias
STATE = ("unit", "ceiling", "threshold", "initial_potential", "schedule")
HEADS = {
    "sigmoid": "aten.sigmoid.default",
    "softmax": "aten.softmax.int",
    "log_softmax": "aten.log_softmax.int",
}
GEOMETRY = ("stride", "padding", "dilation", "groups")


def described(layer: Layer, at: str) -> tuple[Data, dict[str, Tensor]]:
    """(data that JSON can hold, tensors by name); names of tensors begin with `at`."""
    found: Data = {"kind": type(layer).__name__, "name": layer.name, "shape": layer.shape, "folded": layer.folded}
    tensors: dict[str, Tensor] = {}
    if isinstance(layer, NeuronLayer | ValueLayer):
        parts = [_term(term, f"{at}/{i}") for i, term in enumerate(layer.terms)]
        found["terms"] = [data for data, _ in parts]
        tensors = {name: value for _, own in parts for name, value in own.items()} | {f"{at}/bias": layer.bias}
    if isinstance(layer, NeuronLayer):
        kept = {name: getattr(layer, name) for name in STATE}
        tensors |= {f"{at}/{name}": value for name, value in kept.items() if value is not None}
        found["neuron"] = _neuron_data(layer.neuron)
    elif isinstance(layer, GateLayer):
        found |= {"source": layer.source, "pooling": asdict(layer.pooling), "policy": layer.policy}
    elif isinstance(layer, MaxPoolLayer):
        found |= {"source": layer.source, "pooling": asdict(layer.pooling)}
    elif isinstance(layer, CountLayer):
        found |= {"source": layer.source, "pooling": asdict(layer.pooling) if layer.pooling else None}
        tensors = {f"{at}/index": layer.index}
    elif isinstance(layer, PlaneLayer):
        found |= {"source": layer.source, "plane": layer.plane}
    elif isinstance(layer, RouteLayer):
        found["sources"] = layer.sources
        tensors |= {} if layer.index is None else {f"{at}/index": layer.index}
    elif isinstance(layer, PotentialLayer):
        found |= {"source": layer.source, "spikes": layer.spikes, "shows": layer.shows}
        found["neuron"] = _neuron_data(layer.rules)
        tensors = {f"{at}/{name}": getattr(layer, name) for name in NUMBERS}
    elif isinstance(layer, FunctionLayer):
        given, named = layer.arguments
        found |= {"sources": layer.sources, "operator": layer.operator, "given": given, "named": named}
        found |= {"stepwise": layer.stepwise, "exponent": layer.exponent}
    elif isinstance(layer, InputLayer):
        found["spiking"] = layer.spiking
    elif not isinstance(layer, ValueLayer):
        raise TypeError(f"no form in a file for a {type(layer).__name__}")
    return found, tensors


def rebuilt(data: Mapping[str, Any], at: str, tensors: Mapping[str, Tensor], known: Mapping[str, Layer]) -> Layer:
    """The layer that `described` was given; `known` are those before it. Raises KeyError, TypeError or ValueError for
    data that it did not give."""
    kind, name, shape, folded = data["kind"], data["name"], tuple(data["shape"]), tuple(data["folded"])
    if kind == "InputLayer":
        # files of before there were inputs of spikes do not say so
        return InputLayer(name, shape, folded, data.get("spiking", False))
    if kind in ("NeuronLayer", "ValueLayer"):
        terms = [_rebuilt_term(term, f"{at}/{i}", tensors) for i, term in enumerate(data["terms"])]
        bias = tensors[f"{at}/bias"]
        if kind == "ValueLayer":
            return ValueLayer(name, shape, folded, terms, bias)
        state = {key: tensors.get(f"{at}/{key}") for key in STATE}
        unit, ceiling = tensors[f"{at}/unit"], tensors[f"{at}/ceiling"]
        layer = NeuronLayer(name, shape, folded, terms, bias, unit, ceiling, _neuron(data["neuron"]))
        for key, value in state.items():
            setattr(layer, key, value)
        return layer
    if kind == "RouteLayer":
        return RouteLayer(name, shape, folded, [known[s] for s in data["sources"]], tensors.get(f"{at}/index"))
    if kind == "FunctionLayer":
        arguments = (data["given"], data["named"])
        made = FunctionLayer(name, shape, folded, data["sources"], data["operator"], arguments, data["stepwise"])
        made.exponent = data["exponent"]
        return made
    source = known[data["source"]]
    if kind == "PotentialLayer":
        numbers = {number: tensors[f"{at}/{number}"] for number in NUMBERS}
        rules = _neuron(data["neuron"])
        return PotentialLayer(name, shape, folded, source.name, data["spikes"], data["shows"], rules, numbers)
    if kind == "PlaneLayer":
        return PlaneLayer(source, data["plane"])
    if kind == "HeadLayer":
        # files of before functions were of any operator
        operator, more = HEADS[data["function"]], [] if data["function"] == "sigmoid" else [data["dim"]]
        return FunctionLayer(name, shape, folded, [source.name], operator, ([{"node": 0}, *more], {}))
    if kind == "CountLayer":
        pooling = _pooling(data["pooling"]) if data["pooling"] else None
        return CountLayer(name, shape, folded, source, tensors[f"{at}/index"], pooling)
    if kind == "MaxPoolLayer":
        return MaxPoolLayer(name, shape, folded, source, _pooling(data["pooling"]))
    if kind == "GateLayer":
        return GateLayer(name, shape, folded, source, _pooling(data["pooling"]), data["policy"])
    raise ValueError(f"no layer is a {kind!r}")


def _pooling(data: Mapping[str, Any]) -> Pooling:
    sizes: Data = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
    return Pooling(**sizes)


def _term(term: Term, at: str) -> tuple[Data, dict[str, Tensor]]:
    found: Data = {"kind": type(term).__name__, "source": term.source, "shape": term.shape, "shift": term.shift}
    tensors = {f"{at}/weight": term.weight}
    if isinstance(term, ConvTerm):
        found |= {key: getattr(term, key) for key in GEOMETRY}
    elif isinstance(term, WindowTerm):
        tensors[f"{at}/index"] = term.index
    return found, tensors


def _rebuilt_term(data: Mapping[str, Any], at: str, tensors: Mapping[str, Tensor]) -> Term:
    common = (data["source"], tensors[f"{at}/weight"], tuple(data["shape"]))
    kind = TERMS[data["kind"]]
    if kind is ConvTerm:
        more = tuple(tuple(v) if isinstance(v, list) else v for v in (data[key] for key in GEOMETRY))
    else:
        more = (tensors[f"{at}/index"],) if kind is WindowTerm else ()
    term: Term = kind(*common, *more)  # type: ignore[arg-type]
    term.shift = data["shift"]
    return term


def _neuron_data(neuron: Neuron) -> Data:
    return {"kind": type(neuron).__name__} | asdict(neuron)


def _neuron(data: Mapping[str, Any]) -> Neuron:
    options = {key: value for key, value in data.items() if key != "kind"}
    if "planes" in options:
        options["planes"] = tuple(Plane(*plane) for plane in options["planes"])
    return NEURONS[data["kind"]](**options)
