"""What fastsnn is measured beside: every other way to run a converted network, and the dense network itself."""

import copy
import importlib
import platform
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from peers import dense, jelly
from peers.neurons import NEURONS, found
from peers.prepare import Dense, Spiking
from peers.simulated import Simulated, Way, best_way, placed

Recorder = Callable[[Tensor], tuple[Tensor, list[Tensor]]]


class Absent(Exception):
    """An opponent that cannot be measured here; says why."""


@dataclass(frozen=True)
class Opponent:
    """A way to run a network on images that it was built for.

    net       images -> mean logits
    image     the images, as it wants them
    settings  everything that was set, in words
    version   of the package
    recorded  images -> mean logits and spikes, see Simulated.recorded; None for a dense network
    way       how it is run; None where there is one way only
    """

    net: Callable[[Tensor], Tensor]
    image: Tensor
    settings: str
    version: str
    recorded: Recorder | None = None
    way: Way | None = None

    def run(self) -> Tensor:
        return self.net(self.image)


DENSE = ("dense", "dense-compiled", "dense-int8")
SPIKING = (
    *("torch", "torch-compiled", "spikingjelly", "spikingjelly-converted", "spikingjelly-compiled"),
    *("spikingjelly-0.0.0.0.14", "snntorch", "norse", "sinabs"),
)
NAMES = (*DENSE, *SPIKING)
TITLES = {
    "dense": "dense network, eager",
    "dense-compiled": "dense network, torch.compile",
    "dense-int8": "dense network, int8",
    "torch": "T steps in PyTorch, eager",
    "torch-compiled": "T steps in PyTorch, torch.compile",
    "spikingjelly": "SpikingJelly 2.0.0",
    "spikingjelly-converted": "SpikingJelly 2.0.0, its converter",
    "spikingjelly-compiled": "SpikingJelly 2.0.0, torch.compile",
    "spikingjelly-0.0.0.0.14": "SpikingJelly 0.0.0.0.14",
    "snntorch": "snnTorch",
    "norse": "Norse",
    "sinabs": "sinabs",
}
# each is compiled anew for every network, T and batch, which takes a minute
COMPILED = ("dense-compiled", "torch-compiled", "spikingjelly-compiled")


def build(name: str, net: Dense, snn: Spiking, x: Tensor, way: Way | None = None) -> Opponent:
    """One of NAMES on images x, float32.

    way   that was found for it before; None: the fastest is looked for

    Raises Absent where its package does not load, WrongResult where 8 bits are too few.
    """
    if name in DENSE:
        return _dense(name, net, x)
    if name == "spikingjelly-converted":
        return _converted(net, snn, x, way)
    peer = {"spikingjelly-compiled": "spikingjelly"}.get(name, name)
    neuron, version = found(peer)
    if neuron is None:
        raise Absent(version)
    compiled = name in COMPILED
    # step by step the program would be left at every layer
    orders = {"orders": ("layers",)} if compiled else {}

    def make(T: int, order: str) -> nn.Module:
        return Simulated(net.model, snn.thresholds, T, NEURONS[peer], order)

    way = way or best_way(make, snn.T, x, **orders)
    module, image = placed(make(snn.T, way.order), x, way)
    settings = f"{NEURONS[peer]().settings}; {way}; batch norm and thresholds in the weights, first layer once"
    run = module
    if compiled:
        torch._dynamo.reset()
        run = torch.compile(module, dynamic=False)
        settings += "; torch.compile of the whole, dynamic=False"
    return Opponent(run, image, settings, version, _recorder(module.recorded, way), way)


def _converted(net: Dense, snn: Spiking, x: Tensor, way: Way | None) -> Opponent:
    if jelly.found()[0] is None:
        raise Absent(jelly.found()[1])

    def make(T: int, order: str) -> nn.Module:
        # calibration finds thresholds, which are then replaced: one image is enough
        calibration = net.calibration[:1].to(x.device)
        thresholds = [theta.to(x.device) for theta in snn.thresholds]
        model = copy.deepcopy(net.model).float().to(x.device)
        return jelly.Converted(model, calibration, thresholds, T)

    way = way or best_way(make, snn.T, x, ("layers",))
    module, image = placed(make(snn.T, way.order), x, way)
    settings = (
        f"RateCodingRecipe(channel_wise=True), thresholds replaced, v = 0.5 after reset, step_mode='m'; {way}; batch "
        "norm folded; scales its currents and spikes at run time, and computes the first layer at every step"
    )
    return Opponent(module, image, settings, jelly.found()[1], _recorder(module.recorded, way), way)


def _dense(name: str, net: Dense, x: Tensor) -> Opponent:
    version = f"torch {torch.__version__}"
    if name == "dense-int8":
        if x.is_cuda:
            raise Absent("torch.ao.quantization has kernels for a CPU only")
        made = dense.int8(net.model, net.calibration, x)
    else:
        made = (dense.eager if name == "dense" else dense.compiled)(net.model, x)
    return Opponent(*made, version)


def _recorder(recorded: Recorder, way: Way) -> Recorder:
    def record(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        logits, spikes = recorded(images.to(memory_format=dense.FORMATS[way.layout]))
        return logits.cpu(), [train.cpu() for train in spikes]

    return record


def versions() -> dict[str, str]:
    """What an opponent was run with, for the rows."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": importlib.import_module("numpy").__version__,
    }
