"""How much work a layer or a network is: products that are summed, and bytes that have to be moved."""

from dataclasses import dataclass
from math import prod

from torch import nn

from fastsnn.program import ConvTerm, InputLayer, Layer, LinearTerm, NeuronLayer, ScaleTerm
from fastsnn.spikes import word_dtype

FLOAT = 4


@dataclass(frozen=True)
class Moved:
    """Bytes that a network reads and writes, each layer by itself: packed, and in float32 layer by layer."""

    packed: int
    layerwise: int

    @property
    def share(self) -> float:
        return self.packed / self.layerwise


def macs(layer: NeuronLayer) -> int:
    """Products that one image's current at one step is the sum of; a position in the padding counts as one."""
    return sum(_products(term, layer.shape) for term in layer.terms)


def _products(term: nn.Module, shape: tuple[int, ...]) -> int:
    if isinstance(term, ScaleTerm):
        return prod(shape)
    return prod(shape) * prod(term.weight.shape[1:])


def conv_macs(batch: int, size: int, channels: int, outputs: int, kernel: int) -> int:
    """The same of a square convolution whose output has the size of its input, for a whole batch."""
    return batch * size * size * outputs * channels * kernel * kernel


def moved(layers: dict[str, Layer], batch: int, T: int) -> Moved:
    """Bytes of a whole run, read off the shapes of the layers; caches are left out of account.

    Packed: every neuron layer reads the words and the weights of its sources and writes its words. Layer by layer in
    float32: a convolution or sum reads T * B dense inputs and its weights and writes T * B currents; the neurons read
    those and write T * B spikes. What reads only the image is computed once for all steps in both.
    """
    word = word_dtype(T).itemsize
    packed = layerwise = 0
    for layer in layers.values():
        if not isinstance(layer, NeuronLayer):
            continue
        neurons = batch * prod(layer.shape)
        constant = all(isinstance(layers[source], InputLayer) for source in layer.sources)
        times = 1 if constant else T
        for term in layer.terms:
            source = layers[term.source]
            inputs = batch * prod(source.shape)
            packed += inputs * (word if source.spiking else FLOAT)
            layerwise += times * inputs * FLOAT
            if isinstance(term, ConvTerm | LinearTerm):
                packed += term.weight.numel() * term.weight.element_size()
                layerwise += term.weight.numel() * FLOAT
                layerwise += times * neurons * FLOAT
        packed += neurons * word
        layerwise += times * neurons * FLOAT + T * neurons * FLOAT
    return Moved(packed, layerwise)
