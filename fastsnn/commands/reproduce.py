"""What `fastsnn reproduce` does: a paper's network trained, or taken as it is, and the paper's tables from it."""

import argparse
import json
import shlex
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fastsnn import data
from fastsnn._extras import need
from fastsnn._files import write_figure, write_json, write_text
from fastsnn.cli_train import add_training
from fastsnn.commands import output, train
from fastsnn.commands.dense import OnDevice, dense_accuracy
from fastsnn.commands.setup import device_of
from fastsnn.commands.versions import cuda_device, versions
from fastsnn.reproduce import EXPERIMENTS, Plan, Subject, figure, markdown, plan, reproduce
from fastsnn.reproduce.plan import curve_steps
from fastsnn.train import PRETRAINED, path_of, trained
from fastsnn.train.loop import CHECKPOINT

TABLE, DOCUMENT, CURVES = "table.md", "table.json", "curves.png"
TRAINING = "training"


@dataclass(frozen=True)
class Network:
    """What is measured: the network, the header of its file, and which file that is."""

    model: nn.Module
    header: dict[str, Any]
    file: Path


def run(args: argparse.Namespace) -> None:
    """Everything that can be refused is looked at before anything is trained."""
    need("matplotlib.figure", "the plot")
    device = device_of(args.device, 0)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    experiment = EXPERIMENTS[args.experiment]
    whole = args.schedule == "full" if args.schedule else args.device == "cuda"
    chosen = plan(experiment, whole)
    folder = output.require_folder(args.out)
    given = None
    if args.weights:
        named = args.weights in PRETRAINED
        given = _network(path_of(args.weights) if named else Path(args.weights))
    if args.download:
        data.download(args.data)
    if given is None:
        if chosen.reduced:
            print(chosen.reduced)
        given = _network(_trained(args, chosen, experiment.recipe, folder / TRAINING))

    header = given.header
    prepare = data.Prepare(header["image_size"], header["resize"], header["mean"], header["std"])
    images = data.load(args.data, "test", prepare)
    count = args.images or (None if args.weights else chosen.images)
    batches = OnDevice(data.batches(data.some(images, count, args.seed), args.batch_size), device)
    model = given.model.to(device)
    dense, seen = dense_accuracy(model, batches)
    calibration, note = data.calibration_images(args.data, args.calibration_images, prepare, args.seed)
    about = {
        "title": experiment.title,
        "recipe": experiment.recipe,
        "model": header["model"],
        "command": args.command,
        "reduced": None if args.weights else chosen.reduced,
        "note": note,
        "dense": dense,
        "images": seen,
        "weights": {
            "file": given.file.name,
            "sha256": sha256(given.file.read_bytes()).hexdigest(),
            **{key: header.get(key) for key in ("command", "accuracy", "epochs")},
        },
        "threads": torch.get_num_threads(),
        "cuda_device": cuda_device() if args.device == "cuda" else None,
        "versions": versions(),
    }
    progress = output.console(stderr=True)
    document = reproduce(
        Subject(model, lambda: batches, calibration.to(device)),
        about,
        curve_steps(args.timesteps),
        _unfinished(folder / DOCUMENT),
        keep=lambda found: write_json(folder / DOCUMENT, found),
        say=lambda line: progress.print(f"measuring: {line}"),
    )
    text = markdown(document)
    write_text(folder / TABLE, text)
    write_figure(folder / CURVES, figure(document))
    print(text)
    print(f"table: {folder / TABLE}, numbers: {folder / DOCUMENT}, plot: {folder / CURVES}")


def _unfinished(path: Path) -> dict[str, Any] | None:
    """What an earlier run has left, where that can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _network(path: Path) -> Network:
    return Network(trained.load(path), trained.about(path), path)


def _trained(args: argparse.Namespace, chosen: Plan, recipe: str, folder: Path) -> Path:
    """Weights from the folder, from the training that is there, or from a new one."""
    weights = folder / train.WEIGHTS
    if weights.exists():
        return weights
    mean, std = (",".join(map(str, numbers)) for numbers in train.STATISTICS["cifar10"])
    changed = chosen.recipe
    given = ["--model", chosen.model, "--data", args.data, "--mean", mean, "--std", std, "--recipe", recipe]
    given += ["--epochs", str(changed.epochs), "--schedule", changed.schedule]
    given += ["--label-smoothing", str(changed.label_smoothing), "--augment", ",".join(changed.augment)]
    given += ["--seed", str(args.seed), "--device", args.device, "--out", str(folder)]
    given += ["--threads", str(args.threads)] if args.threads else []
    given += ["--resume"] if (folder / CHECKPOINT).exists() else []
    parser = argparse.ArgumentParser()
    add_training(parser)
    asked = parser.parse_args(given)
    asked.command = shlex.join(["fastsnn", "train", *given])
    print(asked.command)
    train.run(asked)
    return weights
