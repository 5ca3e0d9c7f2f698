"""Converts a network once, checks the result, and leaves in a folder what every measuring process needs of it.

python -m peers.prepare FOLDER NETWORK T [T ...] [--device cuda] [--threads N]

    <network>/dense.pt          the dense network in float64, batch norms folded, and its images
    <network>/T<T>.pt           thresholds and what the reference simulation gives
    <network>/T<T>-<precision>.safetensors   the converted network in each precision, as fastsnn saves it
"""

import argparse
import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networks
import torch
from baselines import Steps, folded
from checks import exact, mean_rate, near, same_rates, same_spikes, usual_rate
from torch import Tensor, nn
from torch.nn import functional as F

import fastsnn
from peers.judge import judged

PRECISIONS = {"cpu": ("int32", "int16", "float32"), "cuda": ("int8", "int16", "int32", "float16")}
FIXED = ("int32", "int16", "int8")
# images whose spikes are compared one by one, and steps of them: float64 and the reference take their time
JUDGED = 1
LARGE_STEPS = 4
TINY = "tiny"


class Small(nn.Module):
    """What the measured networks consist of, as small as can be."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.pool = nn.Conv2d(8, 8, 3, padding=1), nn.AvgPool2d(2)
        self.hidden, self.linear = nn.Linear(32, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
        x = self.pool(F.relu(self.conv3(x) + x))
        return self.linear(F.relu(self.hidden(x.flatten(1))))


@dataclass(frozen=True)
class Dense:
    """The dense network in float64, without batch norms.

    images       to run, and the `logits` that it gives for them in float64
    calibration  others, that thresholds are from
    """

    model: nn.Module
    images: Tensor
    logits: Tensor
    calibration: Tensor
    weights: str
    pictures: str

    @property
    def steps(self) -> int | None:
        """Steps that are compared spike by spike; None: all."""
        return LARGE_STEPS if self.images.shape[-1] > 100 else None

    def batch(self, size: int) -> Tensor:
        """So many images, over again where there are fewer."""
        return repeated(self.images, size)


@dataclass(frozen=True)
class Spiking:
    """A converted network.

    thresholds  in order of execution
    logits      of the float64 simulation, on all images
    counts      spikes of each neuron in that simulation, of the first JUDGED images, [B, *N]
    rate        share of the steps in which a neuron fires, mean over the layers
    ours        logits of fastsnn on all images, by precision
    near        share of float32's spikes that its rounding may decide, by precision; None for fixed point, which is
                the same to the bit
    """

    T: int
    thresholds: list[Tensor]
    logits: Tensor
    counts: list[Tensor]
    rate: float
    ours: dict[str, Tensor]
    near: dict[str, float | None]
    folder: Path

    def network(self, precision: str, device: torch.device) -> fastsnn.SpikingNetwork:
        return fastsnn.load(self.folder / f"T{self.T}-{precision}.safetensors").to(device)


def repeated(x: Tensor, size: int) -> Tensor:
    """The first entries, over again where there are fewer."""
    return x[torch.arange(size) % len(x)]


def source(name: str) -> networks.Network:
    """A network of `networks`, or the tiny one that only the checks run."""
    if name != TINY:
        return networks.network(name)
    images = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Small()
    with torch.no_grad():
        model.train()(images)
    return networks.Network(name, model.eval(), "random", images[:16], images[16:], "noise")


@torch.inference_mode()
def prepare(folder: Path, name: str, steps: list[int], device: torch.device) -> None:
    """Raises WrongResult where a converted network does not compute what it should; networks.Absent."""
    net = source(name)
    model = folded(copy.deepcopy(net.model).double())
    dense = Dense(model, net.images, model(net.images.double()), net.calibration, net.weights, net.pictures)
    here = folder / name
    here.mkdir(parents=True, exist_ok=True)
    torch.save(vars(dense), here / "dense.pt")
    for T in steps:
        torch.save(_spiking(here, net, dense, T, device), here / f"T{T}.pt")


def read(folder: Path, name: str) -> Dense:
    # these files are of the process that started this one
    return Dense(**torch.load(folder / name / "dense.pt", weights_only=False))


def read_spiking(folder: Path, name: str, T: int) -> Spiking:
    return Spiking(**torch.load(folder / name / f"T{T}.pt", weights_only=False), folder=folder / name)


def _spiking(here: Path, net: networks.Network, dense: Dense, T: int, device: torch.device) -> dict[str, Any]:
    # all precisions have the same thresholds; int16 keeps more than the others about the images
    found = here / f"T{T}.calibration.safetensors"
    fastsnn.convert(net.model, net.calibration, timesteps=T, precision="int16").calibration.save(found)
    double = fastsnn.convert(net.model, str(found), precision="float64")
    thresholds = list(double.thresholds.values())
    x = dense.images[:JUDGED]
    plain = Steps(dense.model, thresholds, T, torch.float64)
    same_spikes(double, plain, x.double())
    logits, trains = double(dense.images.double()), double.spikes(x.double())
    error = (logits - dense.logits).abs().mean().item()
    ours: dict[str, Tensor] = {}
    close: dict[str, float | None] = {}
    for precision in PRECISIONS[device.type]:
        snn = fastsnn.convert(net.model, str(found), precision=precision)
        snn.save(here / f"T{T}-{precision}.safetensors")
        snn = snn.to(device)
        images = dense.images.to(device)
        few, shown = images[:JUDGED], dense.steps
        spikes = snn.spikes(few, shown)
        close[precision] = None
        if precision in FIXED:
            exact(snn, few, snn(few, shown), spikes, range(JUDGED), shown)
        elif precision == "float32":
            dense_trains = [t.to_dense().bool().cpu() for t in spikes.values()]
            fired = [t.movedim(-1, 2) if t.ndim > 3 else t for t in dense_trains]
            close[precision] = judged(
                dense.model, thresholds, few.cpu(), fired, shown or T, f"fastsnn {precision}"
            ).near
        else:
            same_rates(spikes, double.spikes(x.double(), shown))
        ours[precision] = snn(images).cpu()
        near(ours[precision], logits, error, f"logits of {precision} and of float64")
    rate = mean_rate(trains)
    usual_rate(net.name, T, rate)
    counts = [t.counts() for t in trains.values()]
    return {
        "T": T,
        "thresholds": thresholds,
        "logits": logits,
        "counts": [c.movedim(-1, 1) if c.ndim > 2 else c for c in counts],
        "rate": rate,
        "ours": ours,
        "near": close,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("network")
    parser.add_argument("T", type=int, nargs="+")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        prepare(args.folder, args.network, args.T, args.device)
    except networks.Absent as absent:
        print(absent, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
