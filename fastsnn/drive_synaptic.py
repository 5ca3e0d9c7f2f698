"""What drives neurons behind synapses: the sum of each step, filtered over time, and then one call for all steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn.currents import Bias, Results, Run
from fastsnn.drive_base import Driver
from fastsnn.neurons import Synaptic
from fastsnn.ops.if_steps import if_steps
from fastsnn.program import NeuronLayer, Term
from fastsnn.program.terms import total_of


class SynapticSteps(Driver):
    """Neurons behind synapses. Every linear map is applied once, to all steps as one batch.

    terms     that change over time
    constant  the others
    """

    def __init__(self, layer: NeuronLayer, terms: Sequence[Term], constant: Sequence[Term]) -> None:
        super().__init__(layer)
        if not isinstance(layer.neuron, Synaptic):
            raise TypeError(f"{layer.name} has other neurons: {layer.neuron}")
        self.neuron, self.terms, self.bias = layer.neuron, terms, Bias(layer, constant, exact=False)

    def __call__(
        self, run: Run, results: Results, T: int, v: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor | None]:
        layer, shape = self.layer, (run.batch, *self.layer.shape)
        start = layer.initial_potential.expand(shape)
        potential, current = (start, torch.zeros_like(start)) if v is None else v
        sums = self.bias(run, T).expand(T, *shape)
        if self.terms:
            inputs = [run.numbers(term.source, results, T) for term in self.terms]
            sums = sums + total_of(self.terms, inputs).unflatten(0, (T, run.batch))
        currents = []
        for step in sums:
            current = self.neuron.synapse * current + step
            currents.append(current)
        drift = (self.neuron.drift * layer.threshold).to(current.dtype)
        words, after = if_steps(
            torch.stack(currents), layer.threshold, potential, bias=drift, neuron=self.neuron.membrane
        )
        return words, torch.stack([after, current])
