"""What `fastsnn train` does: a network trained for conversion, with all that a later run goes on from."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fastsnn import data
from fastsnn._extras import need
from fastsnn._files import write_figure
from fastsnn.commands.factory import build
from fastsnn.commands.output import require_folder
from fastsnn.commands.setup import device_of
from fastsnn.data.prepare import Prepare
from fastsnn.distributed import Group, joined
from fastsnn.train import trained
from fastsnn.train.images import training_images
from fastsnn.train.loop import CHECKPOINT, METRICS, How, Training
from fastsnn.train.metrics import curves
from fastsnn.train.recipe import RECIPES, Recipe
from fastsnn.weights import load_into

WEIGHTS, CURVES = "weights.safetensors", "curves.png"
# arguments that change the recipe, under its own names
CHANGES = (
    *("epochs", "batch_size", "learning_rate", "schedule", "warm_up", "label_smoothing", "ema"),
    *("bound", "bound_decay", "levels", "noise", "noise_steps", "augment"),
)
# mean and standard deviation of all training images, channel by channel
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def run(args: argparse.Namespace) -> None:
    """Everything that can be refused is looked at before the first epoch."""
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    with joined(args.device) as group:
        recipe = group.together(lambda: _recipe(args))
        folder = group.together(lambda: _folder(args, group))
        # whole before any process reads it
        group.together(lambda: data.download(args.data) if args.download and group.local_rank == 0 else None)
        training = group.together(lambda: _training(args, recipe, folder, group))
        try:
            training.run()
        except KeyboardInterrupt:
            if group.first:
                print(_stopped(args, training), file=sys.stderr)
            raise
        if group.first:
            _finish(args, training)


def _recipe(args: argparse.Namespace) -> Recipe:
    given = {name: getattr(args, name) for name in CHANGES if getattr(args, name) is not None}
    if "noise" in given and "noise_steps" not in given:
        given["noise_steps"] = None
    return replace(RECIPES[args.recipe], **given)


def _folder(args: argparse.Namespace, group: Group) -> Path:
    need("matplotlib.figure", "the curves of a training")
    folder = require_folder(args.out) if group.first else Path(args.out)
    there = (folder / CHECKPOINT).exists()
    if there and not args.resume:
        raise ValueError(f"{folder} holds a checkpoint: --resume goes on with it, another --out starts anew")
    if args.resume and not there:
        raise ValueError(f"--resume: there is nothing to go on with, {folder} holds no {CHECKPOINT}")
    return folder


def _training(args: argparse.Namespace, recipe: Recipe, folder: Path, group: Group) -> Training:
    device = device_of(args.device, group.local_rank)
    mean, std = STATISTICS.get(args.data.partition(":")[0], IMAGENET)
    prepare = Prepare(args.image_size, args.resize, args.mean or mean, args.std or std)
    images, test, classes = training_images(args.data, recipe, prepare)
    how = How(device, args.precision, args.workers, args.compile, group.first)
    about = {
        "model": args.model,
        "classes": classes,
        "recipe": trained.fields_of(recipe),
        "seed": args.seed,
        "weights": args.weights,
        "precision": how.precision_used,
        "processes": group.size,
        "images": [len(images), len(test)],
        "image_size": prepare.image_size,
        "resize": prepare.resize,
        "mean": list(prepare.mean or ()),
        "std": list(prepare.std or ()),
    }
    model = _network(args, classes, recipe)
    training = Training(model, (images, test), classes, recipe, folder, about, args.seed, how, group)
    if args.resume:
        training.resume()
    return training


def _network(args: argparse.Namespace, classes: int, recipe: Recipe) -> nn.Module:
    """Prepared, with the given weights, or such as the seed decides, the same in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        model = build(args.model) if ":" in args.model else trained.named(args.model, classes)
    if args.weights is None:
        return trained.prepared(model, recipe)
    if trained.is_trained(args.weights):
        return load_into(trained.prepared(model, recipe), args.weights)
    return trained.prepared(load_into(model, args.weights), recipe)


def _stopped(args: argparse.Namespace, training: Training) -> str:
    if not training.kept:
        return f"fastsnn train: stopped in the first epoch: nothing to go on with in {args.out}"
    again = args.command if args.resume else f"{args.command} --resume"
    return f"fastsnn train: stopped after {training.kept} of {training.recipe.epochs} epochs; go on with: {again}"


def _finish(args: argparse.Namespace, training: Training) -> None:
    last: dict[str, Any] = training.rows[-1]
    weights, folder = training.folder / WEIGHTS, training.folder
    about = training.about | {
        "accuracy": last["test_accuracy"],
        "epochs": training.epoch,
        "command": args.command,
        "metrics": training.rows,
    }
    trained.save(weights, training.result, about)
    title = f"{args.model}, {args.recipe}: {last['test_accuracy']:.1%} on {about['images'][1]} test images"
    write_figure(folder / CURVES, curves(training.rows, title))
    print(title)
    print(f"weights: {weights}, metrics: {folder / METRICS}, curves: {folder / CURVES}")
    model = f"--model {weights}" if args.model in trained.MODELS else f"--model {args.model} --weights {weights}"
    print(f"convert it with: fastsnn eval {model} --data {args.data} --timesteps 8")
