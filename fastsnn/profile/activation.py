"""How well the spikes of each layer tell the dense network's activations: it finds the layer that converts badly."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fastsnn.convert.capture import capture
from fastsnn.convert.encoded import encoded
from fastsnn.convert.lower import lower
from fastsnn.convert.maxpool import POLICIES, apply_policy
from fastsnn.convert.moves import settled
from fastsnn.emission import output
from fastsnn.errors import ConversionError
from fastsnn.network import SpikingNetwork
from fastsnn.neurons import IF
from fastsnn.profile.schema import Activation, NotMeasurable, unavailable
from fastsnn.program import Layer, NeuronLayer, Program
from fastsnn.program.axes import channels_last

# pairs of a layer that a picture shows, and images that go through at once
POINTS, BATCH = 300, 16


class _Pairs:
    """Sums over pairs (dense, spiking) as they come, in float64; and some of the pairs."""

    def __init__(self) -> None:
        self.n = 0
        self.sums = torch.zeros(6, dtype=torch.float64)
        self.points: list[tuple[float, float]] = []

    def add(self, x: Tensor, y: Tensor) -> None:
        x, y = x.flatten().double().cpu(), y.flatten().double().cpu()
        self.n += len(x)
        self.sums += torch.stack([v.sum() for v in (x, y, x * x, y * y, x * y, (y - x) ** 2)])
        if not self.points:
            # most pairs are (0, 0), and all of these are one point
            (some,) = torch.nonzero((x != 0) | (y != 0), as_tuple=True)
            pick = some[torch.arange(min(POINTS, len(some))) * len(some) // max(min(POINTS, len(some)), 1)]
            self.points = [(float(f"{a:.4g}"), float(f"{b:.4g}")) for a, b in zip(x[pick], y[pick], strict=True)]

    def result(self) -> Activation | NotMeasurable:
        x, y, xx, yy, xy, square = (self.sums / self.n).tolist()
        spread = ((xx - x * x) * (yy - y * y)) ** 0.5
        if not xx or not spread > 0:
            return unavailable("every neuron of this layer has one and the same activation, or rate")
        return {"correlation": (xy - x * y) / spread, "error": (square / xx) ** 0.5, "points": self.points}


@torch.inference_mode()
def activations(
    snn: SpikingNetwork, dense: nn.Module | None, images: Tensor, T: int
) -> dict[str, Activation | NotMeasurable]:
    """Of each neuron layer: rate times threshold after T steps, against the dense network's activation.

    dense    the network that `snn` was converted from; without it a floating precision is needed, whose weights give
             the activations as well
    images   [B, C, *S], for both
    """
    found = _dense_program(snn, dense, images)
    if not isinstance(found, Program):
        return dict.fromkeys(snn.program.neurons, found)
    units = {name: layer.unit for name, layer in snn.program.neurons.items()}
    scale = units if dense is None else {}
    pairs = {name: _Pairs() for name in units}
    for x in images.split(BATCH):
        means, first = {name: torch.zeros((), dtype=torch.float64, device=x.device) for name in units}, 0
        for steps, words, _ in snn.chunks(x, T, record=units):
            for name, layer in snn.program.neurons.items():
                part = output(words[name], layer.neuron, steps, first) / layer.neuron.steps_of(T)
                means[name] = means[name] + part
            first += steps
        found.dense(channels_last(x.to(snn.real())), clip=False, watch=_compare(pairs, scale, means, units))
    return {name: sums.result() for name, sums in pairs.items()}


def _compare(
    pairs: dict[str, _Pairs], scale: dict[str, Tensor], means: dict[str, Tensor], units: dict[str, Tensor]
) -> Callable[[Layer, Tensor], None]:
    def watch(layer: Layer, value: Tensor) -> None:
        if isinstance(layer, NeuronLayer):
            unit = units[layer.name].double()
            pairs[layer.name].add(value * scale.get(layer.name, 1), means[layer.name] * unit)

    return watch


def _dense_program(snn: SpikingNetwork, dense: nn.Module | None, images: Tensor) -> Program | NotMeasurable:
    """A program whose neuron layers, with their clipped ReLUs, hold the dense network's activations."""
    if dense is None:
        if snn.program.exponent is None:
            return snn.program
        return unavailable(f"precision {snn.precision} holds no activations; give the dense network")
    shapes = {name: layer.shape for name, layer in snn.program.neurons.items()}
    try:
        # torch.export does not run in inference mode
        with torch.inference_mode(False), torch.no_grad():
            graph = settled(encoded(capture(dense, images[:1].clone()).graph))
            for policy in POLICIES:
                program = lower(apply_policy(graph, policy), _Ones(), IF())
                if {name: layer.shape for name, layer in program.neurons.items()} == shapes:
                    return program.to(images.device, snn.real())
    except ConversionError as error:
        return unavailable(f"the dense network cannot be traced: {str(error).splitlines()[0]}")
    return unavailable("the dense network has other activations than the one that was converted")


class _Ones(dict[str, Tensor]):
    """A threshold of 1 for whatever neuron is asked for."""

    def __missing__(self, name: str) -> Tensor:
        return torch.ones(())
