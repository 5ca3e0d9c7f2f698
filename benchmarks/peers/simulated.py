"""A converted network of any peer's neurons, run over T steps in the order and memory format that suit it best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from baselines import FORMATS
from timing import interleaved
from torch import Tensor, nn

from peers.neurons import Neuron
from peers.unit import unit

# layers: all steps of a layer as one batch, layer after layer; steps: the whole network, step after step
ORDERS = ("layers", "steps")
# steps that the ways to run a network are compared at first; those that take no more than so many times as long as the
# fastest are compared at all steps, whose batches may no longer fit into caches
TRIED, CLOSE = 4, 2.0


class Layer(nn.Module):
    """Neurons where a ReLU was.

    T         steps that come as one batch; None where they come one by one
    constant  whether the current comes without steps and is the same at each
    record    whether to keep the spikes, [T, B, ...] bool, in `spikes`
    """

    def __init__(self, neuron: Neuron, T: int | None, constant: bool) -> None:
        super().__init__()
        self.neuron, self.T, self.constant = neuron, T, constant
        self.record = False
        self.spikes: list[Tensor] = []

    def begin(self) -> None:
        self.neuron.begin()
        self.spikes = []

    def forward(self, x: Tensor) -> Tensor:
        axis, T = self.neuron.axis, self.T
        if T is None:
            out = self.neuron(x.unsqueeze(axis))
        elif self.constant:
            out = self.neuron(x.unsqueeze(axis).expand(*x.shape[:axis], T, *x.shape[axis:]))
        else:
            out = self.neuron(x.unflatten(0, (T, -1) if axis == 0 else (-1, T)))
        if self.record:
            self.spikes.append((out != 0).movedim(axis, 0))
        return out.squeeze(axis) if T is None else out.flatten(0, 1)


class Simulated(nn.Module):
    """Images [B, C, *S] -> mean logits [B, classes].

    The currents of the first neurons, which the image alone decides, are computed once.
    """

    def __init__(
        self, model: nn.Module, thresholds: Sequence[Tensor], T: int, neuron: Callable[[], Neuron], order: str
    ) -> None:
        super().__init__()
        kind = neuron()
        at_once = T if order == "layers" else None
        self.T, self.order, self.axis = T, order, kind.axis
        made = unit(model, thresholds, lambda i: Layer(neuron(), at_once, constant=i == 0), kind.gain)
        self.stem, self.body = made.stem, made.body
        self.layers = [m for m in self.body.modules() if isinstance(m, Layer)]

    def forward(self, x: Tensor) -> Tensor:
        current = self.stem(x)
        for layer in self.layers:
            layer.begin()
        if self.order == "layers":
            steps = (self.T, -1) if self.axis == 0 else (-1, self.T)
            return self.body(current).unflatten(0, steps).mean(self.axis)
        total = self.body(current)
        for _ in range(self.T - 1):
            total = total + self.body(current)
        return total / self.T

    def recorded(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Mean logits, and the spikes of each layer in order of execution: [T, B, *N] bool."""
        try:
            for layer in self.layers:
                layer.record = True
            return self(x), [torch.cat(layer.spikes) for layer in self.layers]
        finally:
            for layer in self.layers:
                layer.record, layer.spikes = False, []


@dataclass(frozen=True)
class Way:
    """How a network is run: an order of ORDERS and a memory format of FORMATS."""

    order: str
    layout: str

    def __str__(self) -> str:
        batched = "all steps of a layer as one batch" if self.order == "layers" else "one step after another"
        return f"{batched}, {self.layout.replace('_', ' ')}"


Make = Callable[[int, str], nn.Module]


def best_way(make: Make, T: int, x: Tensor, orders: Sequence[str] = ORDERS) -> Way:
    """The fastest way to run T steps on images like x.

    make   (T, order) -> the network
    """
    ways = [Way(*pair) for pair in product(orders, FORMATS)]
    times = _times(make, min(TRIED, T), x, ways, least=2)
    close = [way for way in ways if times[way] <= CLOSE * min(times.values())]
    if T > TRIED and len(close) > 1:
        times = _times(make, T, x, close, least=1)
    return min(times, key=times.__getitem__)


def _times(make: Make, T: int, x: Tensor, ways: Sequence[Way], least: int) -> dict[Way, float]:
    """Milliseconds of each way, from a few rounds."""
    runs = {}
    for way in ways:
        net, image = placed(make(T, way.order), x, way)
        runs[str(way)] = partial(net, image)
    found = interleaved(runs, rounds=5, least=least, budget=0.5, alone=False)
    return {way: found[str(way)].least for way in ways}


def placed(net: nn.Module, x: Tensor, way: Way) -> tuple[nn.Module, Tensor]:
    """The network in float32 and the images, on the device of x in the memory format of a way."""
    layout = FORMATS[way.layout]
    return net.float().to(x.device).to(memory_format=layout), x.to(memory_format=layout)
