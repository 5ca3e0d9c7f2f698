"""What `fastsnn demo` does: a small network converted twice, its accuracy over time as a table and as a plot."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from torch import Tensor, nn

import fastsnn
from fastsnn import data, train
from fastsnn._extras import need
from fastsnn.commands import digits, output
from fastsnn.commands.dense import dense_accuracy
from fastsnn.spikes import steps_shown

TIMESTEPS = 32
BATCH = 150
CALIBRATED = 512
RATED = 100
# What each row starts its neurons from, in units of the threshold.
STARTS = {"V(0) = theta/2": 0.5, "V(0) = 0": 0.0}
PRETRAINED = "resnet20-opi"


@dataclass(frozen=True)
class Shown:
    """A trained network, images to calibrate on, and batches (images, labels) to test on."""

    title: str
    net: nn.Module
    calibration: Tensor
    batches: list[Any]


def run(args: argparse.Namespace) -> None:
    """A trained network, converted twice; one table and one plot."""
    folder = output.require_folder(args.out)
    need("matplotlib.figure", "the plot")
    if args.cifar10:
        _show(_cifar10(args), folder)
    else:
        with digits.one_thread():
            _show(_digits(args), folder)


def _digits(args: argparse.Namespace) -> Shown:
    images, labels, test, test_labels = digits.load(args.seed)
    print(f"handwritten digits of scikit-learn: {len(images)} images to train on, {len(test)} to test on")
    columns = ("training", BarColumn(), MofNCompleteColumn(), "epochs, loss {task.fields[loss]:.3f}")
    with Progress(*columns, TimeElapsedColumn(), console=output.console(stderr=True)) as bar:
        task = bar.add_task("training", total=args.epochs, loss=float("nan"))
        net = digits.train(images, labels, args.epochs, args.seed, lambda loss: bar.update(task, advance=1, loss=loss))
    batches = list(zip(test.split(BATCH), test_labels.split(BATCH), strict=True))
    return Shown("handwritten digits, converted without retraining", net, images[:CALIBRATED], batches)


def _cifar10(args: argparse.Namespace) -> Shown:
    header = train.about(train.path_of(PRETRAINED))
    if args.download:
        data.download(args.cifar10)
    prepare = data.Prepare(mean=header["mean"], std=header["std"])
    chosen = data.some(data.load(args.cifar10, "test", prepare), args.images, args.seed)
    batches = list(data.batches(chosen, BATCH))
    calibration, _ = data.calibration_images(args.cifar10, CALIBRATED, prepare, args.seed)
    print(f"CIFAR-10: {len(chosen)} test images; {PRETRAINED} as it comes")
    return Shown(f"CIFAR-10, {PRETRAINED}", train.pretrained(PRETRAINED), calibration, batches)


def _show(shown: Shown, folder: Path) -> None:
    dense, _ = dense_accuracy(shown.net, shown.batches)
    rated = shown.batches[0][0][:RATED]
    curves, rates = {}, {}
    for name, start in STARTS.items():
        snn = fastsnn.convert(shown.net, shown.calibration, timesteps=TIMESTEPS, initial_potential=start)
        curves[name] = snn.accuracy_over_time(shown.batches, progress=False)
        rates[name] = mean_firing_rate(snn, rated)

    output.accuracy_table("test accuracy in percent", curves, dense, steps_shown(TIMESTEPS))
    for name, rate in rates.items():
        print(f"mean firing rate, {name}: {rate:.3f} spikes a neuron and time-step ({len(rated)} test images)")
    plot = folder / "accuracy_over_time.png"
    output.plot_accuracy(plot, shown.title, curves, dense)
    print(f"plot: {plot}")


@torch.inference_mode()
def mean_firing_rate(snn: fastsnn.SpikingNetwork, images: Tensor) -> float:
    """Spikes a neuron and time-step, over all neurons of all layers."""
    trains = snn.spikes(images).values()
    spikes = sum(t.counts().sum(dtype=torch.float64).item() for t in trains)
    return spikes / sum(t.T * t.shape.numel() for t in trains)
