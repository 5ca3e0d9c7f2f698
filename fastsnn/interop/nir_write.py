"""Converted networks as NIR graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastsnn._extras import need
from fastsnn._files import require_file, write_bytes
from fastsnn.convert.rules.call import Refusal
from fastsnn.errors import ConversionError
from fastsnn.fuse.network import FusedNetwork
from fastsnn.interop.nir_neurons import COMPARATOR, RESET, START, WRITERS
from fastsnn.network import SpikingNetwork
from fastsnn.neurons import IF
from fastsnn.program import (
    ConvTerm,
    CountLayer,
    InputLayer,
    Layer,
    LinearTerm,
    NeuronLayer,
    PlaneLayer,
    PotentialLayer,
    Program,
    RouteLayer,
    ScaleTerm,
    Term,
    ValueLayer,
)

SUFFIX = (".nir",)


def to_nir(network: SpikingNetwork | FusedNetwork, path: str | Path | None = None) -> Any:
    """A network as a nir.NIRGraph, and with a path also as a file of it, written whole or not at all.

    Batch norms and scales are in the weights and thresholds are 1, as the engine has them. Neurons are IF or LIF nodes;
    their metadata says what NIR has no field for: "reset" ("soft" is by subtraction), "initial_potential" (in
    thresholds) and "comparator". The output is that of each step; its mean over the steps is the network's.

    Raises ConversionError that names every layer which NIR cannot say: max pools, several planes, neurons that wait,
    schedules, movements other than flattening, functions of the output; and for networks in fixed point, whose sums
    are not those of a graph of real numbers. MissingExtra without the package nir.
    """
    nir = need("nir", "to_nir", "nir")
    target = None if path is None else require_file(path, SUFFIX)
    program = network.program
    if program.exponent is not None or any(not la.bias.is_floating_point() for la in program.neurons.values()):
        raise ConversionError('NIR has real numbers: convert with precision="float32" or "float64"')
    writing = _Writing(nir, program)
    graph = writing.run()
    if target is not None:
        _file(nir, graph, target)
    return graph


def _file(nir: Any, graph: Any, path: Path) -> None:
    import io

    buffer = io.BytesIO()
    nir.write(buffer, graph)
    write_bytes(path, buffer.getvalue())


class _Writing:
    """One layer after the other: nodes, edges, and what each layer's value is called."""

    def __init__(self, nir: Any, program: Program) -> None:
        self.nir, self.program = nir, program
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        # a route -> the order of its elements among those of its source, channels first
        self.orders: dict[str, Tensor] = {}
        self.layers = program.layers

    def run(self) -> Any:
        refused = []
        for name, layer in self.layers.items():
            try:
                self.layer(name, layer)
            except Refusal as reason:
                refused.append(f"  {name} ({type(layer).__name__}): {reason}")
        if len(self.program.outputs) != 1:
            refused.append(f"  the network has {len(self.program.outputs)} outputs, NIR graphs of one step have one")
        if refused:
            raise ConversionError(f"{len(refused)} layer(s) have no form in NIR:\n" + "\n".join(refused))
        (out,) = self.program.outputs
        self.add("output", self.nir.Output(np.array(_logical(self.layers[out].shape))), [out])
        return self.nir.NIRGraph(self.nodes, self.edges, metadata={"readout": "mean over the steps"})

    def add(self, name: str, node: Any, sources: list[str]) -> None:
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]

    def layer(self, name: str, layer: Layer) -> None:
        if isinstance(layer, InputLayer):
            self.add(name, self.nir.Input(np.array(_logical(layer.shape))), [])
        elif isinstance(layer, NeuronLayer):
            self.add(name, self.neurons(layer), self.terms(layer))
        elif isinstance(layer, PotentialLayer):
            self.add(name, self.integrator(layer), [layer.source])
        elif isinstance(layer, ValueLayer):
            # a sum needs a node of its own where it is read
            self.add(name, self.nir.Scale(np.ones(_logical(layer.shape))), self.terms(layer))
        elif isinstance(layer, RouteLayer):
            self.flatten(name, layer)
        elif isinstance(layer, CountLayer):
            self.add(name, self.count(layer), [layer.source])
        elif isinstance(layer, PlaneLayer):
            # no node: what has planes is one, which `terms` reads
            if layer.source in self.orders:
                self.orders[name] = self.orders[layer.source]
        else:
            raise Refusal("NIR has no node for it")

    def neurons(self, layer: NeuronLayer) -> Any:
        neuron = layer.neuron
        if not isinstance(neuron, IF) or neuron.waits:
            raise Refusal(f"its neurons are neither IF nor LIF: {neuron}")
        if layer.schedule is not None:
            raise Refusal("it is given another bias at each step")
        start = _start(layer.initial_potential / layer.threshold)
        shape = _logical(layer.shape)
        ones, zeros = np.ones(shape), np.zeros(shape)
        said = {RESET: neuron.reset, START: start, COMPARATOR: neuron.comparator}
        threshold = ones * float(layer.threshold)
        if neuron.leak == 1:
            node = self.nir.IF(r=ones, v_threshold=threshold, v_reset=zeros)
        elif neuron.leak == 0:
            raise Refusal("nothing is kept of its potential, which is no time constant")
        else:
            share = 1 - neuron.leak
            tau = WRITERS["nir"].dt / share
            node = self.nir.LIF(tau=ones * tau, r=ones / share, v_leak=zeros, v_threshold=threshold, v_reset=zeros)
        node.metadata = said
        return node

    def integrator(self, layer: PotentialLayer) -> Any:
        """The node of a leaky integrator."""
        if layer.spikes is not None:
            raise Refusal("NIR gives spikes of neurons, and not their potential beside them")
        if not isinstance(layer.rules, IF) or layer.rules.leak == 0 or bool(layer.origin.any()):
            raise Refusal(f"its potential has no form there: {layer.rules}")
        start = _start(layer.start)
        shape, share = layer.shape, 1 - layer.rules.leak
        gain, drift = (_spread(values, shape) for values in (layer.gain, layer.drift))
        if share == 0:
            if drift.any():
                raise Refusal("its potential drifts, and does not leak")
            node = self.nir.I(r=gain)
        else:
            tau = np.full_like(gain, WRITERS["nir"].dt / share)
            node = self.nir.LI(tau=tau, r=gain / share, v_leak=drift / share)
        node.metadata = {START: start}
        return node

    def count(self, layer: CountLayer) -> Any:
        p = layer.pooling
        if p is None or len(p.kernel) != 2 or set(p.dilation) != {1}:
            raise Refusal("NIR sums windows of one size and two dimensions")
        return self.nir.SumPool2d(np.array(p.kernel), np.array(p.stride), np.array(p.padding))

    def terms(self, layer: NeuronLayer | ValueLayer) -> list[str]:
        """Adds a node for each term of a sum, the bias in one of them: their names."""
        names = []
        bias, terms = layer.bias, self._whole(layer)
        # the first that can carry a bias
        first = next((i for i, (_, term) in enumerate(terms) if isinstance(term, ConvTerm | LinearTerm)), None)
        for number, (source, term) in enumerate(terms):
            name = f"{layer.name}.{number}" if len(terms) > 1 else f"{layer.name}.map"
            self.add(name, self.term(term, bias if number == first else None), [source])
            names.append(name)
        if first is None and bool(bias.any()):
            raise Refusal("it has a bias, and no map that could carry it")
        return names

    def _whole(self, layer: NeuronLayer | ValueLayer) -> list[tuple[str, Term]]:
        """What a sum reads and its terms, one for all planes together: that of the plane that is worth 1."""
        read = [(self.layers[term.source], term) for term in layer.terms]
        kept = [(la, term) for la, term in read if not isinstance(la, PlaneLayer) or la.amplitude == 1]
        return [(la.source if isinstance(la, PlaneLayer) else la.name, term) for la, term in kept]

    def term(self, term: Term, bias: Tensor | None) -> Any:
        source = self.layers[term.source].shape
        if isinstance(term, LinearTerm):
            order = self.orders.get(term.source)
            weight = term.weight if order is None else term.weight[:, order]
            given = term.weight.new_zeros(len(weight)) if bias is None else bias.expand(len(weight))
            return self.nir.Affine(_numbers(weight), _numbers(given))
        if isinstance(term, ConvTerm):
            outputs = term.weight.shape[0]
            if bias is not None and bias.ndim > 1:
                raise Refusal("its bias differs from position to position")
            given = term.weight.new_zeros(outputs) if bias is None else bias.expand(outputs)
            kinds = {3: self.nir.Conv1d, 4: self.nir.Conv2d}
            if term.weight.ndim not in kinds:
                raise Refusal(f"a convolution of {term.weight.ndim - 2} dimensions")
            one = term.weight.ndim == 3
            geometry = {name: getattr(term, name) for name in ("stride", "padding", "dilation")}
            return kinds[term.weight.ndim](
                input_shape=source[0] if one else tuple(source[:-1]),
                weight=_numbers(term.weight),
                groups=term.groups,
                bias=_numbers(given),
                **{name: n[0] if one else tuple(n) for name, n in geometry.items()},
            )
        if isinstance(term, ScaleTerm):
            return self.nir.Scale(_numbers(_first_channels(term.weight.expand(source))))
        raise Refusal("windows of different sizes have no node in NIR")

    def flatten(self, name: str, layer: RouteLayer) -> None:
        sources = [self.layers[source].shape for source in layer.sources]
        if len(sources) != 1 or len(layer.shape) != 1 or layer.shape[0] != torch.Size(sources[0]).numel():
            raise Refusal("NIR moves elements only by flattening all of them")
        (shape,) = sources
        size = layer.shape[0]
        index = torch.arange(size) if layer.index is None else layer.index.flatten().cpu()
        if not torch.equal(index.sort().values, torch.arange(size)):
            raise Refusal("it leaves elements out, or repeats them")
        # element i of the route is element index[i] of the source with channels last; NIR flattens with channels first
        first = _first_channels(torch.arange(size).reshape(shape)).flatten()
        place = torch.empty_like(index)
        place[index] = torch.arange(size)
        self.orders[name] = place[first]
        logical = _logical(shape)
        self.add(name, self.nir.Flatten(np.array(logical), 0, len(logical) - 1), list(layer.sources))


def _first_channels(values: Tensor) -> Tensor:
    """[*S, C] -> [C, *S]."""
    return values.movedim(-1, 0)


def _logical(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[-1], *shape[:-1])


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().cpu().contiguous().numpy()


def _start(potentials: Tensor) -> str:
    """The initial potential that all neurons have. Raises `Refusal` where they have several."""
    start = torch.unique(potentials.double())
    if start.numel() != 1:
        raise Refusal("initial potentials differ from neuron to neuron")
    return repr(float(start))


def _spread(values: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that spread over a channels-last shape, one for each neuron, channels first."""
    return _numbers(values.expand(shape).movedim(-1, 0))
