"""How many bytes each layer of a converted network moves, if everything is read and written once."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from fastsnn.profile.schema import Bytes
from fastsnn.program import GateLayer, InputLayer, Layer, NeuronLayer, PlaneLayer, Program, RouteLayer, ValueLayer
from fastsnn.spikes import word_dtype

# of a number in the simulation in float32
FLOAT = 4
# spikes so far of each input of a gated max pool: int32
COUNT = 4


def traffic(program: Program, lengths: Sequence[int], batch: int, stepwise: bool) -> dict[str, Bytes]:
    """Of one pass over a batch, by layer, with the steps in chunks of these lengths.

    stepwise  what is behind the last neurons runs at each step, not once on the mean over them
    """
    return {
        name: _Layer(program, layer, lengths, batch, stepwise).bytes()
        for name, layer in program.layers.items()
        if not isinstance(layer, InputLayer | PlaneLayer)
    }


def float_steps(weights: int, read: int, written: int, neurons: int, T: int) -> int:
    """Bytes of T steps in float32, one after the other.

    Each step reads the weights and the inputs and writes the currents; the neurons read these and their potentials, and
    write potentials and spikes. All in numbers: weights, those read, those written, neurons among these.
    """
    return FLOAT * T * (weights + read + written + 4 * neurons)


class _Layer:
    def __init__(self, program: Program, layer: Layer, lengths: Sequence[int], batch: int, stepwise: bool) -> None:
        self.layers, self.layer, self.lengths, self.batch = program.layers, layer, lengths, batch
        self.fixed = program.exponent is not None
        self.inner = set(program.layers) if stepwise else program.inner()
        self.timed = program.timed()
        self.T = sum(lengths)

    def bytes(self) -> Bytes:
        layer, chunks = self.layer, len(self.lengths)
        if isinstance(layer, RouteLayer) and layer.index is None:
            # another shape of the same memory
            return {"weights": 0, "read": 0, "written": 0, "potentials": 0, "float_simulation": 0}
        own = self.size(layer) * self.batch
        sources = [self.layers[name] for name in layer.sources]
        read, written = sum(self.moved(source) for source in sources), self.moved(layer)
        potentials = 0
        tensors: list[Tensor] = []
        if isinstance(layer, NeuronLayer | ValueLayer):
            tensors = [*(term.weight for term in layer.terms), layer.bias]
        weights = sum(t.numel() * t.element_size() for t in tensors) * (chunks if layer.name in self.timed else 1)
        if isinstance(layer, NeuronLayer):
            value = layer.bias.element_size()
            potentials = 2 * (chunks - 1) * own * value * (2 if layer.neuron.firing.counted else 1)
            if any(name not in self.timed for name in layer.sources):
                # the constant current: written once, read in each chunk
                written += own * value
                read += chunks * own * value
        if isinstance(layer, GateLayer):
            potentials = 2 * (chunks - 1) * COUNT * self.size(sources[0]) * self.batch
        inputs = sum(self.size(source) for source in sources) * self.batch
        numbers = sum(t.numel() for t in tensors)
        neurons = own if isinstance(layer, NeuronLayer) else 0
        simulated = float_steps(numbers, inputs, own, neurons, self.T)
        return {
            "weights": weights,
            "read": read,
            "written": written,
            "potentials": potentials,
            "float_simulation": simulated,
        }

    def moved(self, layer: Layer) -> int:
        """What a layer's result takes over all steps: words, or numbers once or at each step."""
        numbers = self.size(layer) * self.batch
        if layer.spiking:
            return numbers * len(layer.amplitudes) * sum(word_dtype(T).itemsize for T in self.lengths)
        in_head = layer.name not in self.inner or self.layer.name not in self.inner
        value = torch.int64.itemsize if self.fixed and not in_head else FLOAT
        return numbers * value * (self.T if layer.name in self.timed and not in_head else 1)

    @staticmethod
    def size(layer: Layer) -> int:
        return prod(layer.shape)
