"""The lowered network as a whole: its layers in order, which of them run over time, and which only on the mean."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn

from fastsnn.program.layers import GateLayer, InputLayer, Layer, NeuronLayer, PlaneLayer
from fastsnn.program.potential import PotentialLayer


class Program(nn.Module):
    """Layers in an order in which they can run.

    outputs     names of the layers that are the network's outputs
    exponent    in fixed point, numbers that are no spikes are stored times 2^exponent; None in floating point
    image       [C, *S], as users give one
    """

    def __init__(self, layers: Iterable[Layer], outputs: list[str]) -> None:
        super().__init__()
        layers = list(layers)
        self._names = [layer.name for layer in layers]
        self._layers = nn.ModuleList(layers)
        # where a tensor is: going through all modules for it takes longer than a layer of neurons
        tensors = ((m, name) for la in layers for m in la.modules() for name, t in m._buffers.items() if t is not None)
        self._held = next(tensors, None)
        self.outputs = outputs
        self.exponent: int | None = None
        *spatial, channels = self.input.shape
        self.image = (channels, *spatial)

    @property
    def layers(self) -> dict[str, Layer]:
        return dict(zip(self._names, cast(list[Layer], list(self._layers)), strict=True))

    @property
    def device(self) -> torch.device:
        return torch.device("cpu") if self._held is None else getattr(*self._held).device

    @property
    def input(self) -> InputLayer:
        return next(layer for layer in self._layers if isinstance(layer, InputLayer))

    def given_as(self, timed: bool) -> "Program":
        """The same layers, not copied, with an input that changes from step to step, or one that is held."""
        layers = list(self.layers.values())
        first = InputLayer(self.input.name, self.input.shape, self.input.folded, self.input.spiking)
        first.timed = timed
        program = Program([first if isinstance(layer, InputLayer) else layer for layer in layers], self.outputs)
        program.exponent = self.exponent
        return program

    @property
    def neurons(self) -> dict[str, NeuronLayer]:
        return {name: layer for name, layer in self.layers.items() if isinstance(layer, NeuronLayer)}

    @property
    def longest_run(self) -> int | None:
        """How many steps a run may have: as many as the shortest schedule; None where no layer has one."""
        schedules = [layer.schedule for layer in self._layers if isinstance(layer, NeuronLayer)]
        lengths = [len(schedule) for schedule in schedules if schedule is not None]
        return min(lengths) if lengths else None

    @property
    def shortest_run(self) -> int:
        """How many steps a run needs: those of the first run of neurons that run twice."""
        neurons = [layer.neuron for layer in self._layers if isinstance(layer, NeuronLayer)]
        return max((neuron.probe for neuron in neurons if neuron.emission == "offset"), default=1)

    @property
    def wake(self) -> int | None:
        """Steps at the start that images and biases are given in; None where they always are."""
        return min((layer.neuron.wake for layer in self.neurons.values() if layer.neuron.wake), default=None)

    @property
    def differential(self) -> bool:
        """Whether spikes are changes of a running mean: one at step t is worth 1 / t of it."""
        return any(layer.neuron.differential for layer in self.neurons.values())

    @property
    def waits(self) -> bool:
        """Whether some neurons need all steps of a run at once."""
        return any(isinstance(layer, NeuronLayer) and layer.neuron.waits for layer in self._layers)

    def timed(self) -> set[str]:
        """Layers whose result changes from step to step: what spikes or has a state, an input that does, all that
        reads them."""
        timed: set[str] = set()
        for layer in self.layers.values():
            given = isinstance(layer, InputLayer) and layer.timed
            own = layer.spiking or isinstance(layer, PotentialLayer)
            if given or own or any(source in timed for source in layer.sources):
                timed.add(layer.name)
        return timed

    def inner(self) -> set[str]:
        """Layers that some neuron, gate or potential depends on; the others, the head, run once on the mean over
        time."""
        inner: set[str] = set()
        for layer in reversed(self.layers.values()):
            if isinstance(layer, NeuronLayer | GateLayer | PlaneLayer | PotentialLayer):
                inner.add(layer.name)
            if layer.name in inner:
                inner.update(layer.sources)
        return inner

    def dense(
        self, x: Tensor, clip: bool = True, watch: Callable[[Layer, Tensor], Tensor | None] | None = None
    ) -> list[Tensor]:
        """Runs the network with each neuron replaced by its clipped ReLU: the outputs, channels last, in real units.

        x      [N, *shape] floating, channels last
        clip   False: no clipping at the thresholds, only at bounds that the converted activations have themselves
        watch  sees every layer and its result; what it returns, if anything, replaces the result
        """
        results: dict[str, Tensor] = {}
        for layer in self.layers.values():
            inputs = [results[source] for source in layer.sources]
            if isinstance(layer, InputLayer):
                out = x
            elif isinstance(layer, NeuronLayer):
                out = layer.dense(inputs, clip)
            else:
                out = layer.dense(inputs)
            seen = watch(layer, out) if watch else None
            results[layer.name] = out if seen is None else seen
        return [results[name] for name in self.outputs]

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.dense(x)
