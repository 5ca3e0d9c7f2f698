"""Converted networks on a device, each converted once and kept in a folder for the processes that come after."""

import copy
import os
from pathlib import Path

import networks
import torch
from networks import Network
from torch import Tensor

import fastsnn
from fastsnn import SpikingNetwork, _env

T = 16


def spiking(name: str, precision: str, device: torch.device, folder: Path) -> SpikingNetwork:
    """A network of networks.NAMES, converted with T = 16. Raises networks.Absent where its weights are not here."""
    path = folder / f"{name}-{precision}.pt"
    if path.is_file():
        # made by a process of the same run
        return torch.load(path, weights_only=False, map_location="cpu").to(device)
    net = networks.network(name)
    model = copy.deepcopy(net.model).to(device)
    snn = fastsnn.convert(model, net.calibration.to(device), timesteps=T, precision=precision)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    torch.save(copy.deepcopy(snn).cpu(), temporary)
    os.replace(temporary, path)
    return snn.to(device)


def images(net: Network, batch: int, device: torch.device, number: int = 0) -> Tensor:
    """A batch of the network's images, shifted by some pixels where there are fewer; another set for each number."""
    have = len(net.images)
    parts = [
        net.images.roll((i + 3 * number, i * number), dims=(2, 3))
        for i in range(-(-batch // have))
    ]  # fmt: skip
    return torch.cat(parts)[:batch].to(device).contiguous()


def check(snn: SpikingNetwork, x: Tensor) -> None:
    """Spikes of two images of a batch are the reference's on the CPU; raises checks.WrongResult.

    Of fixed point to the bit. In floating point the order of a sum may decide a spike at a threshold, and what follows
    from it: there rates have to agree.
    """
    from checks import WrongResult, same_rates

    pick = [0, len(x) - 1]
    got = snn.spikes(x)
    before = _env.BACKEND
    try:
        _env.BACKEND = "reference"
        want = copy.deepcopy(snn).cpu().spikes(x[pick].cpu())
    finally:
        _env.BACKEND = before
    ours = {
        name: fastsnn.SpikeTrain(tuple(w[:, pick].contiguous().cpu() for w in train.words), train.T)
        for name, train in got.items()
    }
    if not snn.precision.startswith("int"):
        same_rates(ours, want)
        return
    for name, train in want.items():
        for a, b in zip(ours[name].words, train.words, strict=True):
            if wrong := int((a != b).sum()):
                raise WrongResult(f"{snn.precision}: {wrong} of {b.numel()} words of {name} are not the reference's")
