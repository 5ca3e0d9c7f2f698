"""How a method corrects layers one after another: what it sees of the network, and where its corrections go.

Each layer is corrected with all layers before it corrected already. Only forward passes are needed, over any images
that can be read several times, and no more than one batch of them is held.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from fastsnn.convert.calibrate import BATCH, batches
from fastsnn.convert.measure import Currents
from fastsnn.convert.quantise import to_precision
from fastsnn.emission import output
from fastsnn.engine import Simulation
from fastsnn.prepared import Prepared
from fastsnn.program import Layer, NeuronLayer, Program
from fastsnn.program.axes import channels_last
from fastsnn.spikes import MAX_STEPS, chunk_lengths


@dataclass(frozen=True)
class Correction:
    """What is changed in one layer, in units of its threshold, float64; None for what stays.

    shift              [C], added to the current of every step
    initial_potential  V(0), spreads over [*S, C]
    schedule           [T, C], added to the current at each step
    """

    shift: Tensor | None = None
    initial_potential: Tensor | None = None
    schedule: Tensor | None = None

    def apply(self, layer: NeuronLayer) -> None:
        """Changes the layer of a float64 program."""
        if self.shift is not None:
            layer.bias = layer.bias + self.shift.to(layer.bias)
        if self.initial_potential is not None:
            layer.initial_potential = self.initial_potential.to(layer.bias)
        if self.schedule is not None:
            layer.schedule = self.schedule.to(layer.bias)


class Refinement:
    """The network while its layers are corrected, and the images that it is corrected on.

    program  float64; its layers up to the one in hand are as they will be
    bare     the same network with thresholds of 1, whose clipped ReLUs are not clipped: the dense activations
    peaks    see `Calibration`
    T        time-steps
    """

    def __init__(
        self, program: Program, bare: Program, data: Iterable, device: torch.device, peaks: dict[str, float], T: int
    ) -> None:
        self.program, self.bare, self.device, self.peaks, self.T = program, bare, device, peaks, T
        self._data = data
        self._means: dict[str, Tensor] = {}

    def images(self) -> Iterator[Tensor]:
        """Small batches [B, C, *S] on the device, all images once."""
        for images in batches(self._data):
            yield from images.to(self.device, torch.float32).split(BATCH)

    @torch.inference_mode()
    def means(self, name: str) -> Tensor:
        """Mean dense activation of each neuron of a layer over all images, in units of its threshold: [*S, C]."""
        if not self._means:
            total, images = dict.fromkeys(self.bare.neurons, torch.zeros(())), 0

            def watch(layer: Layer, out: Tensor) -> None:
                if isinstance(layer, NeuronLayer):
                    total[layer.name] = total[layer.name].to(out.device) + out.sum(0, dtype=torch.float64)

            for x in self.images():
                self.bare.dense(channels_last(x), clip=False, watch=watch)
                images += len(x)
            self._means = {layer: found.cpu() / images for layer, found in total.items()}
        return self._means[name] / self.program.neurons[name].unit

    @torch.inference_mode()
    def rates(self, name: str) -> Tensor:
        """Mean output of each neuron of a layer over all images, in thresholds, from int32 runs: [*S, C]."""
        program = self._upto(name, "int32")
        neuron = program.neurons[name].neuron
        prepared, total, images = Prepared(program), torch.zeros((), dtype=torch.float64, device=self.device), 0
        for x in self.images():
            simulation = Simulation(program, x, prepared)
            lengths = chunk_lengths(self.T, simulation.longest_chunk())
            for i, T in enumerate(lengths):
                words, _ = simulation.advance(T, [name], last=i == len(lengths) - 1)
                total = total + output(words[name], neuron, T, sum(lengths[:i])).sum(0)
            images += len(x)
        return total.cpu() / (images * neuron.steps_of(self.T))

    @torch.inference_mode()
    def currents(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Batch after batch: currents [T, B, *S, C] that a layer gets, and the dense activations [B, *S, C].

        Both in units of the threshold, float32.
        """
        program, unit = self._upto(name, "float32"), self.program.neurons[name].unit.to(self.device, torch.float32)
        wanted: list[Tensor] = []

        def watch(layer: Layer, out: Tensor) -> None:
            if layer.name == name:
                wanted.append(out)

        for x in self.images():
            simulation = Currents(program, x)
            for T in chunk_lengths(self.T, min(MAX_STEPS, simulation.longest_chunk())):
                simulation.advance(T)
            self.bare.dense(channels_last(x), clip=False, watch=watch)
            yield torch.cat(simulation.found), wanted.pop() / unit

    def _upto(self, name: str, precision: str) -> Program:
        """The program that ends at a layer."""
        names = list(self.program.layers)
        ends = names[: names.index(name) + 1]
        short = Program([self.program.layers[n] for n in ends], [name])
        return to_precision(short, precision, self.peaks).to(self.device)


# the correction of one layer
Correct = Callable[[Refinement, str], Correction]


def refine(
    given: Refinement,
    correct: Correct,
    done: dict[str, Correction],
    keep: Callable[[dict[str, Correction]], None],
    progress: bool,
) -> dict[str, Correction]:
    """Corrects every neuron layer of `given.program`, in order; gives what was changed.

    done  corrections of an earlier, interrupted run: of the first layers
    keep  called after each layer with all corrections so far
    """
    found: dict[str, Correction] = {}
    for name, layer in tqdm(given.program.neurons.items(), desc="correct", unit="layer", disable=not progress):
        found[name] = done[name] if name in done else correct(given, name)
        found[name].apply(layer)
        if name not in done:
            keep(found)
    return found
