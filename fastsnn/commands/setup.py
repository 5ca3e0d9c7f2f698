"""What the verbs on a user's own network share: the network, its images, and how it is converted."""

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn import data, train
from fastsnn.commands.dense import OnDevice
from fastsnn.commands.factory import build
from fastsnn.distributed import Group
from fastsnn.train import is_trained
from fastsnn.weights import load_into


@dataclass(frozen=True)
class Setup:
    """The dense network, batches to evaluate on, images to calibrate on, and what a reader should know.

    batches      those that are this process's; may be none where there are several processes
    available    number of images that the data has for the evaluation
    calibration  [N, C, *S]; N = 0 in every process but the first
    """

    model: nn.Module
    batches: OnDevice
    available: int
    calibration: Tensor
    notes: list[str]


def setup(args: argparse.Namespace, group: Group | None = None) -> Setup:
    """From the arguments of the groups "network" and "data". Raises ValueError or OSError where they do not fit."""
    group = group or Group()
    device = device_of(args.device, group.local_rank)
    source = str(train.path_of(args.model)) if args.model in train.PRETRAINED else args.model
    model = _network(source, args.weights)
    written = args.weights or is_trained(source)
    notes = [] if written else [f"no --weights: the weights are those that {args.model} sets"]
    prepare = _prepare(args, next(filter(is_trained, filter(None, (args.weights, source))), None))
    images = data.load(args.data, "test", prepare)
    batches = OnDevice(data.batches(images, args.batch_size, args.images, group.rank, group.size), device)
    calibration, note = torch.zeros(0), None
    if group.first:
        source = args.calibration_data or args.data
        calibration, note = data.calibration_images(source, args.calibration_images, prepare, args.seed)
    notes += [note] if note else []
    return Setup(model.to(device), batches, len(images), calibration.to(device), notes)


def conversion(args: argparse.Namespace) -> dict[str, Any]:
    """What `fastsnn.convert` is given, from the arguments of the group "conversion"."""
    return dict(
        method=args.method,
        timesteps=args.timesteps,
        threshold=args.threshold,
        per_channel=not args.per_layer,
        initial_potential=args.initial_potential,
        max_pool=args.max_pool,
        precision=args.precision,
        seed=args.seed,
        checkpoint=args.checkpoint,
    )


def _prepare(args: argparse.Namespace, file: str | None) -> data.Prepare:
    """As the arguments say, and where they say nothing as the network was trained, if its file knows."""
    header = train.about(file) if file else {}
    known = {name: header.get(name) for name in ("image_size", "resize", "mean", "std")}
    if args.image_size is not None:
        known["resize"] = None
    given = {name: getattr(args, name) for name in known if getattr(args, name) is not None}
    return data.Prepare(**known | given)


def _network(model: str, weights: str | None) -> nn.Module:
    """With weights, in eval mode; a file that `fastsnn train` wrote says itself how its network was prepared."""
    if is_trained(model) and not weights:
        return train.load(model)
    if weights and is_trained(weights):
        return train.load(weights, build(model))
    network = build(model)
    return load_into(network, weights) if weights else network


def device_of(name: str, number: int) -> torch.device:
    """The processor, or the GPU of that number, which becomes the current one. Raises ValueError for no such GPU."""
    if name == "cuda" and not torch.cuda.is_available():
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
        raise ValueError(f"--device cuda: no CUDA device is available (torch {torch.__version__}, built for {build})")
    if name == "cpu":
        return torch.device(name)
    if number >= torch.cuda.device_count():
        raise ValueError(
            f"--device cuda: each process needs a GPU of its own, LOCAL_RANK is {number}, and this machine has "
            f"{torch.cuda.device_count()}"
        )
    torch.cuda.set_device(number)
    # the device of tensors that are moved there has an index
    return torch.device(name, number)
