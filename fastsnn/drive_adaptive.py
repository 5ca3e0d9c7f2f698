"""What drives neurons with adaptive thresholds: the current of each step, of all planes of their sources together."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fastsnn.currents import Bias, Results, Run
from fastsnn.drive_base import Driver
from fastsnn.neurons import Adaptive
from fastsnn.ops import pack
from fastsnn.ops.adaptive import adaptive_steps
from fastsnn.program import Layer, NeuronLayer, PlaneLayer, Term
from fastsnn.program.terms import total_of


class Read:
    """What one linear map takes from one source.

    term   with the weight of a spike of amplitude 1
    names  the planes of the source, which are worth `amplitudes`; only the source itself where it has none
    """

    def __init__(self, term: Term, names: Sequence[str], amplitudes: Sequence[int]) -> None:
        self.term, self.names, self.amplitudes = term, tuple(names), tuple(amplitudes)

    def numbers(self, run: Run, results: Results, T: int) -> Tensor:
        """What the source holds, or emits on all planes together, at each of T steps as one batch [T * B, *S, C]."""
        if len(self.names) == 1:
            return run.numbers(self.names[0], results, T)
        words = [results[name] for name in self.names]
        # small whole numbers, of one plane after the other: memory is what this takes time for
        total = torch.zeros((T, *words[0].shape), dtype=torch.int16, device=words[0].device)
        for plane, amplitude in zip(words, self.amplitudes, strict=True):
            total.add_(pack.unpack(plane.contiguous(), T), alpha=amplitude)
        return total.to(self.term.weight.dtype).flatten(0, 1)


class AdaptiveSteps(Driver):
    """Neurons with adaptive thresholds. Every linear map is applied once, to all steps and planes as one batch.

    terms     that change over time
    constant  the others
    """

    def __init__(
        self, layer: NeuronLayer, terms: Sequence[Term], constant: Sequence[Term], layers: Mapping[str, Layer]
    ) -> None:
        super().__init__(layer)
        if not isinstance(layer.neuron, Adaptive):
            raise TypeError(f"{layer.name} has other neurons: {layer.neuron}")
        self.neuron, self.bias, self.reads = layer.neuron, Bias(layer, constant, exact=False), together(terms, layers)

    def __call__(
        self, run: Run, results: Results, T: int, v: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor | None]:
        shape = (run.batch, *self.layer.shape)
        bias, start = self.bias(run, T), self.layer.initial_potential if v is None else v
        if not self.reads:
            # the image alone: the same at every step, unless there is a schedule
            currents = bias.expand(T if bias.ndim > len(shape) else 1, *shape)
            return adaptive_steps(currents, T, start, self.neuron, first=run.steps)
        inputs = [read.numbers(run, results, T) for read in self.reads]
        currents = total_of([read.term for read in self.reads], inputs).unflatten(0, (T, run.batch))
        return adaptive_steps(currents, T, start, self.neuron, bias=bias, first=run.steps)


def together(terms: Sequence[Term], layers: Mapping[str, Layer]) -> list[Read]:
    """Terms with those of the planes of one source as one: `fastsnn.program.planes` made them of one map.

    Planes of these neurons are powers of two, so that there is always one of amplitude 1.
    """
    found: dict[tuple[str, int], dict[int, Term]] = {}
    times: Counter[str] = Counter()
    for term in terms:
        layer = layers[term.source]
        source, amplitude = (layer.source, layer.amplitude) if isinstance(layer, PlaneLayer) else (layer.name, 1)
        # a source may be read by several maps, each of which has a term for every plane
        found.setdefault((source, times[term.source]), {})[amplitude] = term
        times[term.source] += 1
    return [Read(parts[1], [term.source for term in parts.values()], list(parts)) for parts in found.values()]
