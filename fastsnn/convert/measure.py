"""How far a layer's spikes are from its clipped ReLU, for a trial initial potential, the layers before it being set."""

import copy

import torch
from torch import Tensor

from fastsnn.emission import output
from fastsnn.engine import Simulation
from fastsnn.neurons import Adaptive, Neuron
from fastsnn.ops.adaptive import adaptive_steps
from fastsnn.ops.if_steps import if_steps
from fastsnn.prepared import Prepared
from fastsnn.program import NeuronLayer, Program
from fastsnn.program.axes import channels_last
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
        mean = output(fired(self.currents, start, neuron), neuron, self.T) / neuron.steps_of(self.T)
        return (mean - self.wanted).square().mean().item()

    def _run(self, name: str) -> None:
        """Currents and clipped ReLU of one layer, from a program that ends there."""
        names = list(self.program.layers)
        ends = names[: names.index(name) + 1]
        short = copy.deepcopy(Program([self.program.layers[n] for n in ends], [name]))
        short = short.to(self.samples.device, torch.float32)
        simulation = Currents(short, self.samples)
        simulation.advance(self.T)
        self.currents = torch.cat(simulation.found)
        (self.wanted,) = short.dense(channels_last(self.samples))


def fired(currents: Tensor, start: float, neuron: Neuron) -> Tensor:
    """Words of neurons with threshold 1 that currents [T, *N] drive, floating, from potential `start`."""
    if isinstance(neuron, Adaptive):
        return adaptive_steps(currents, len(currents), start, neuron)[0]
    return if_steps(currents, 1.0, start, neuron=neuron)[0]


class Currents(Simulation):
    """Keeps the currents of the program's output layer."""

    def __init__(self, program: Program, x: Tensor, prepared: Prepared | None = None) -> None:
        super().__init__(program, x, prepared)
        # of each chunk, [T, B, *S, C]
        self.found: list[Tensor] = []

    def fire(self, layer: NeuronLayer, results: dict[str, Tensor], T: int, keep: bool) -> Tensor:
        if layer.name in self.program.outputs:
            total = layer.total([self.numbers(name, results, T) for name in layer.sources], biased=not self.asleep)
            self.found.append(total.unflatten(0, (T, self.batch)))
        return super().fire(layer, results, T, keep)
