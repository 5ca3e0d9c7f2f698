"""How far a layer's spikes are from its clipped ReLU, for a trial initial potential, the layers before it being set."""

import copy

import torch
from torch import Tensor

from fastsnn.engine import Simulation
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.pack import counts
from fastsnn.program import NeuronLayer, Program
from fastsnn.program.program import channels_last
from fastsnn.spikes import MAX_STEPS

IMAGES = 64


class LayerError:
    """error(layer, c): mean over images and neurons of (spikes / T - clipped ReLU)^2, in units of the threshold.

    Measured over the first 32 steps where T is larger, on at most 64 images.
    """

    def __init__(self, program: Program, samples: Tensor, T: int) -> None:
        self.program, self.samples, self.T = program, samples[:IMAGES], min(T, MAX_STEPS)
        self.layer = ""
        self.currents = self.wanted = torch.zeros(0)

    @torch.inference_mode()
    def __call__(self, name: str, start: float) -> float:
        if name != self.layer:
            self.layer = name
            self._run(name)
        neuron = self.program.neurons[name].neuron
        words, _ = if_steps(self.currents, 1.0, start, reset=neuron.reset, comparator=neuron.comparator)
        return (counts(words) / self.T - self.wanted).square().mean().item()

    def _run(self, name: str) -> None:
        """Currents and clipped ReLU of one layer, from a program that ends there."""
        names = list(self.program.layers)
        ends = names[: names.index(name) + 1]
        short = copy.deepcopy(Program([self.program.layers[n] for n in ends], [name]))
        short = short.to(self.samples.device, torch.float32)
        simulation = Currents(short, self.samples)
        simulation.advance(self.T)
        self.currents = simulation.found
        (self.wanted,) = short.dense(channels_last(self.samples))


class Currents(Simulation):
    """Keeps the currents of the program's output layer."""

    found: Tensor

    def fire(self, layer: NeuronLayer, results: dict[str, Tensor], T: int, keep: bool) -> Tensor:
        if layer.name in self.program.outputs:
            steps = [[self.number(source, results, t) for source in layer.sources] for t in range(T)]
            self.found = torch.stack([layer.total(inputs) for inputs in steps])
        return super().fire(layer, results, T, keep)
