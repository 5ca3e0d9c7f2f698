"""What drives neurons with adaptive thresholds: a current for each step, from what their sources emit at that step."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from fastsnn.adaptive import integrate
from fastsnn.currents import Bias, Results, Run
from fastsnn.drive_base import Driver
from fastsnn.neurons import Adaptive
from fastsnn.ops._step import bias_at, spikes_at
from fastsnn.program import Layer, NeuronLayer, PlaneLayer, Term


class Read:
    """What one linear map takes from one source.

    term   with the weight of a spike of amplitude 1
    names  the planes of the source, which are worth `amplitudes`; only the source itself where it has none
    """

    def __init__(self, term: Term, names: Sequence[str], amplitudes: Sequence[int]) -> None:
        self.term, self.names = term, tuple(names)
        self.amplitudes = term.weight.new_tensor(amplitudes)

    def numbers(self, run: Run, results: Results) -> Callable[[int], Tensor]:
        """What the source holds at a step, or emits on all planes together."""
        if len(self.names) == 1:
            return partial(run.number, self.names[0], results)
        words = torch.stack([results[name] for name in self.names])
        dtype = self.amplitudes.dtype
        return lambda t: torch.tensordot(self.amplitudes, spikes_at(words, t).to(dtype), dims=1)


class AdaptiveSteps(Driver):
    """Neurons with adaptive thresholds. Every linear map is applied once a step, not once for each plane.

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
        bias = self.bias(run, T)
        numbers = [read.numbers(run, results) for read in self.reads]

        def current_at(t: int) -> Tensor:
            parts = [read.term(number(t)) for read, number in zip(self.reads, numbers, strict=True)]
            return sum(parts, start=torch.as_tensor(bias_at(bias, t, len(shape))))

        start = self.layer.initial_potential if v is None else v
        return integrate(current_at, T, shape, start, self.neuron, run.steps)


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
