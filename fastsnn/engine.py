"""How a program runs over time: in chunks of steps, words between layers, the membranes carried from chunk to chunk."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fastsnn.ops._step import spikes_at
from fastsnn.ops.conv_if import conv_if
from fastsnn.ops.if_constant import if_constant
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.linear_if import linear_if
from fastsnn.ops.pack import counts
from fastsnn.ops.pool import pool_gate, pool_or
from fastsnn.program import (
    ConvTerm,
    GateLayer,
    InputLayer,
    Layer,
    LinearTerm,
    NeuronLayer,
    Program,
    RouteLayer,
    ScaleTerm,
    Term,
    ValueLayer,
)
from fastsnn.program.fixed import fixed_input, saturated
from fastsnn.program.program import channels_last
from fastsnn.spikes import MAX_STEPS
from fastsnn.windows import Shape

# what the numbers of one chunk may take where a network keeps any over time, in bytes
CHUNK_BYTES = 2**29


class Simulation:
    """One run of a program on a batch: fresh at the start, then advanced by any number of steps.

    x   [B, C, *S] floating: the images, fed as a constant current
    """

    def __init__(self, program: Program, x: Tensor) -> None:
        self.program, self.layers = program, program.layers
        self.inner, self.timed = program.inner(), program.timed()
        self.real = torch.float64 if _dtype(program) == torch.float64 else torch.float32
        self.steps = 0
        self.batch = len(x)
        self.potential: dict[str, Tensor] = {}
        self.gates: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}
        self.running = [name for name in self.layers if name in self.inner and name in self.timed]
        self.static = self._static(channels_last(x.to(self.real)))
        self.boundary = self._boundary()

    def advance(
        self, T: int, record: Iterable[str] = (), over_time: bool = False
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Runs T more steps, T in 1..32.

        Returns the words of the layers in `record`, and the outputs, channels last: after the last step [B, ...], or
        after each step [T, B, ...].
        """
        keep = {*record, *self.boundary}
        kept: dict[str, Tensor] = {}
        results: dict[str, Tensor] = {}
        readers = self._readers()
        for name in self.running:
            layer = self.layers[name]
            results[name] = self._run(layer, results, T)
            if name in keep:
                kept[name] = results[name]
            for source in set(layer.sources):
                readers[source] -= 1
                if readers[source] == 0:
                    results.pop(source, None)
        outputs = self._read(kept, T, over_time)
        return {name: kept[name] for name in record}, outputs

    def longest_chunk(self) -> int:
        """Steps that one call may take for the numbers kept over time to stay below CHUNK_BYTES; 32 where none are."""
        numbers = [self.layers[name] for name in self.running if not self.layers[name].spiking]
        size = 8 * self.batch * sum(torch.Size(layer.shape).numel() for layer in numbers)
        steps = MAX_STEPS
        while steps > 1 and steps * size > CHUNK_BYTES:
            steps //= 2
        return steps

    def _static(self, x: Tensor) -> dict[str, Tensor]:
        """Results of the layers that do not change over time and that neurons depend on."""
        results: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            if isinstance(layer, InputLayer):
                exponent = self.program.exponent
                results[name] = fixed_input(x, exponent) if exponent is not None and name in self.inner else x
            elif name in self.inner and name not in self.timed:
                results[name] = saturated(layer.dense([results[s] for s in layer.sources]))
        return results

    def _boundary(self) -> set[str]:
        """Layers that run over time and that the head, or an output, reads."""
        head = [layer for name, layer in self.layers.items() if name not in self.inner]
        read = {source for layer in head for source in layer.sources} | set(self.program.outputs)
        return {name for name in read if name in self.inner and name in self.timed}

    def _readers(self) -> dict[str, int]:
        """How many of the running layers still have to read each layer."""
        readers = dict.fromkeys(self.layers, 0)
        for name in self.running:
            for source in set(self.layers[name].sources):
                readers[source] += 1
        return readers

    def _run(self, layer: Layer, results: dict[str, Tensor], T: int) -> Tensor:
        if isinstance(layer, NeuronLayer):
            return self.fire(layer, results, T)
        if isinstance(layer, GateLayer):
            return self._gate(layer, results[layer.source], T)
        if isinstance(layer, RouteLayer) and layer.spiking:
            return layer.dense([results[s] for s in layer.sources])
        return torch.stack([saturated(self._at(layer, results, t)) for t in range(T)])

    def _at(self, layer: Layer, results: dict[str, Tensor], t: int) -> Tensor:
        """The number a layer holds at step t."""
        return layer.dense([self.number(source, results, t) for source in layer.sources])

    def number(self, name: str, results: dict[str, Tensor], t: int) -> Tensor:
        if name in self.static:
            return self.static[name]
        if not self.layers[name].spiking:
            return results[name][t]
        return spikes_at(results[name], t).to(torch.int64 if self.program.exponent is not None else self.real)

    def fire(self, layer: NeuronLayer, results: dict[str, Tensor], T: int) -> Tensor:
        """Words of a neuron layer for T steps; its membrane potential is kept for the next chunk."""
        v = self.potential.get(layer.name, layer.initial_potential)
        threshold, reset, comparator = layer.threshold, layer.neuron.reset, layer.neuron.comparator
        spikes = [term for term in layer.terms if self.layers[term.source].spiking]
        constant = [term for term in layer.terms if term.source in self.static]
        bias = self._constant(layer, constant) if constant else layer.bias
        words, weights = [results[term.source] for term in spikes], [term.weight for term in spikes]
        if len(constant) == len(layer.terms):
            out, v = if_constant(bias, T, threshold, v, reset=reset, comparator=comparator)
        elif len(spikes) + len(constant) < len(layer.terms) or not _fusable(spikes, layer.shape):
            varying = [term for term in layer.terms if term.source not in self.static]
            currents = torch.stack([self._current(varying, results, t) for t in range(T)])
            out, v = if_steps(currents, threshold, v, bias=bias, reset=reset, comparator=comparator)
        elif len(layer.shape) == 1:
            out, v = linear_if(words, weights, T, threshold, v, bias=bias, reset=reset, comparator=comparator)
        else:
            convs = [_as_conv(term, layer.shape) for term in spikes]
            out, v = conv_if(
                words,
                [conv.weight for conv in convs],
                T,
                threshold,
                v,
                stride=[n for conv in convs for n in conv.stride],
                padding=[n for conv in convs for n in conv.padding],
                dilation=[n for conv in convs for n in conv.dilation],
                groups=[conv.groups for conv in convs],
                bias=bias,
                reset=reset,
                comparator=comparator,
            )
        self.potential[layer.name] = v
        return out

    def _constant(self, layer: NeuronLayer, terms: list[Term]) -> Tensor:
        """Bias and constant inputs of a layer as one current [B, *S, C], computed once a run."""
        key = f"{layer.name}.constant"
        if key not in self.static:
            self.static[key] = saturated(self._sum(terms, self.static) + layer.bias).to(layer.bias.dtype)
        return self.static[key]

    def _current(self, terms: list[Term], results: dict[str, Tensor], t: int) -> Tensor:
        """What the terms that change over time add up to at step t."""
        total = self._sum(terms, {term.source: self.number(term.source, results, t) for term in terms})
        return total if total.is_floating_point() else saturated(total).to(torch.int32)

    def _sum(self, terms: list[Term], inputs: dict[str, Tensor]) -> Tensor:
        exact = self.program.exponent is not None
        parts = [(term.exact if exact else term)(inputs[term.source]) for term in terms]
        return sum(parts[1:], start=parts[0])

    def _gate(self, layer: GateLayer, words: Tensor, T: int) -> Tensor:
        p = layer.pooling
        geometry = (p.kernel, p.stride, p.padding, p.dilation, p.ceil_mode)
        if layer.policy == "or":
            return pool_or(words, T, *geometry)
        so_far = self.gates.get(layer.name)
        if so_far is None:
            so_far = torch.zeros(words.shape, dtype=torch.int32, device=words.device)
        out, self.gates[layer.name] = pool_gate(words, so_far, T, *geometry)
        return out

    def _read(self, kept: dict[str, Tensor], T: int, over_time: bool) -> list[Tensor]:
        """Adds a chunk to the sums over time and applies the head to the means: at its end, or at each step."""
        if not over_time:
            for name in self.boundary:
                spiking = self.layers[name].spiking
                self._add(name, counts(kept[name]) if spiking else kept[name].sum(0))
            self.steps += T
            return self._head()
        steps = []
        for t in range(T):
            for name in self.boundary:
                spiking = self.layers[name].spiking
                self._add(name, spikes_at(kept[name], t).to(torch.int32) if spiking else kept[name][t])
            self.steps += 1
            steps.append(self._head())
        return [torch.stack(outputs) for outputs in zip(*steps, strict=True)]

    def _add(self, name: str, amount: Tensor) -> None:
        self.sums[name] = self.sums[name] + amount if name in self.sums else amount

    def _head(self) -> list[Tensor]:
        """The outputs [B, ...] from the means over the steps so far."""
        results: dict[str, Tensor] = {}

        def mean(name: str) -> Tensor:
            if name in results:
                return results[name]
            total = self.static[name] if name in self.static else self.sums[name]
            fixed = not total.is_floating_point() and not self.layers[name].spiking
            value = total.to(self.real) if name in self.static else total.to(self.real) / self.steps
            results[name] = value * 2.0 ** -(self.program.exponent or 0) if fixed else value
            return results[name]

        for name, layer in self.layers.items():
            if name not in self.inner and not isinstance(layer, InputLayer):
                results[name] = layer.dense([mean(source) for source in layer.sources])
        return [mean(name) for name in self.program.outputs]


def _dtype(program: Program) -> torch.dtype:
    return next(
        (la.bias.dtype for la in program.layers.values() if isinstance(la, ValueLayer | NeuronLayer)), torch.float32
    )


def _fusable(terms: Sequence[Term], shape: Shape) -> bool:
    """Whether linear_if (for [F]) or conv_if (for [*S, C]) can take the terms."""
    if len(shape) == 1:
        return all(isinstance(term, LinearTerm) for term in terms)
    per_channel = (isinstance(t, ConvTerm) or (isinstance(t, ScaleTerm) and t.weight.ndim < 2) for t in terms)
    return len(shape) <= 4 and all(per_channel)


def _as_conv(term: Term, shape: Shape) -> ConvTerm:
    """A residual connection as a depthwise convolution of one position; a convolution as it is."""
    if isinstance(term, ConvTerm):
        return term
    dims, channels = len(shape) - 1, shape[-1]
    ones, zeros = (1,) * dims, (0,) * dims
    weight = term.weight.expand(channels).reshape(channels, 1, *ones)
    return ConvTerm(term.source, weight, shape, ones, zeros, ones, channels)
