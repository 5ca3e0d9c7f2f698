"""What terms add up to at each step, as numbers: where no neuron follows at once, or where not all terms are spikes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn.currents import Results, Run, convolution_of, maps_of
from fastsnn.fused import as_conv, fusable, geometry_of
from fastsnn.ops._plan import Plan
from fastsnn.ops._step import LIMIT
from fastsnn.ops._totals import Totals
from fastsnn.program import Layer, ScaleTerm, Term
from fastsnn.program.fixed import held
from fastsnn.program.terms import total_of
from fastsnn.windows import Shape


class StepTotals:
    """Terms of one layer, and its bias.

    terms   those that are added up
    shape   of the layer
    bias    spreads over `shape`
    layers  of the program, for what a source is
    timed   names of layers that change over time
    exact   numbers are in fixed point
    native  the native module may be used
    """

    def __init__(
        self,
        terms: Sequence[Term],
        shape: Shape,
        bias: Tensor,
        layers: dict[str, Layer],
        timed: set[str],
        exact: bool,
        native: bool,
    ) -> None:
        self.shape, self.bias = shape, bias
        # sums of 16 bits wrap, those of these kernels saturate
        self.fast = exact and native and bias.dtype == torch.int32
        known = terms if self.fast else ()
        spikes = [term for term in known if term.source in timed and layers[term.source].spiking]
        self.spikes = spikes if self._one_call(spikes) else []
        self.scaled = [t for t in known if isinstance(t, ScaleTerm) and not layers[t.source].spiking]
        taken = {*map(id, self.spikes), *map(id, self.scaled)}
        self.rest = [term for term in terms if id(term) not in taken]
        # of one term alone nothing is kept but what it gives with the bias
        only = self.fast and len(terms) == len(self.rest) == 1
        self.alone = convolution_of(terms[0], bias) if only else None
        self.maps = maps_of(self.rest, exact, native) if self.alone is None else [self.alone.scaled]
        if self.fast:
            numbers = [term.weight for term in self.scaled], [term.shift for term in self.scaled]
            self.plan = self._layer(layers) if self.spikes else None
            self.sums = Totals(shape, *numbers, bias)

    def _one_call(self, spikes: Sequence[Term]) -> bool:
        """Whether spikes are summed as a layer's currents: such are not saturated, and need not be."""
        if not spikes or not fusable(spikes, self.shape, True):
            return False
        return sum(term.extent() for term in spikes) + float(self.bias.double().abs().max()) < LIMIT

    def __call__(self, run: Run, results: Results, T: int, biased: bool, last: bool = False) -> Tensor:
        """[T, B, *S, C]: as floats, or as int32 in fixed point, saturated; with the bias or without.

        last  whether, where `fast`, sums saturate before the bias is added as well, as the currents of neurons do
        """
        rest = [run.numbers(term.source, results, T) for term in self.rest]
        if self.alone is not None and biased and not last:
            out = run.room((T * run.batch, *self.shape), torch.int32)
            return self.alone(rest[0].contiguous(), out).unflatten(0, (T, run.batch))
        if self.fast:
            return self._fixed(run, results, T, biased, last, rest).unflatten(0, (T, run.batch))
        total = total_of(self.maps, rest)
        total = total + self.bias.to(total.dtype) if biased else total
        return held(total, self.bias.dtype).unflatten(0, (T, run.batch))

    def _fixed(self, run: Run, results: Results, T: int, biased: bool, last: bool, rest: Sequence[Tensor]) -> Tensor:
        spikes = None
        alone = not self.rest and not self.scaled
        shape = (T * run.batch, *self.shape)
        if self.plan is not None:
            words = [results[term.source].contiguous() for term in self.spikes]
            spikes = self.plan.currents(words, T, alone and biased, run.room(shape, torch.int32))
            if alone:
                return spikes
        others = [run_map(x).expand(shape).contiguous() for run_map, x in zip(self.maps, rest, strict=True)]
        inputs = [run.numbers(term.source, results, T).contiguous() for term in self.scaled]
        out = self.sums(inputs, others, spikes, biased, run.room(shape, torch.int32), last)
        if spikes is not None:
            run.give_back(spikes)
        return out

    def _layer(self, layers: dict[str, Layer]) -> Plan:
        """The terms that spike as a layer, for its currents: it is never asked for its neurons."""
        convs = [as_conv(term, self.shape) for term in self.spikes]
        return Plan(
            [layers[conv.source].shape for conv in convs],
            [conv.weight.contiguous() for conv in convs],
            (1, *self.shape),
            torch.ones((), dtype=torch.int32),
            torch.zeros((), dtype=torch.int32),
            self.bias,
            *geometry_of(convs),
            "soft",
            ">=",
        )
