"""What `fastsnn demo` does: train a small network on real digits, convert it, show accuracy over time."""

import argparse

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from torch import Tensor

import fastsnn
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


@digits.one_thread()
def run(args: argparse.Namespace) -> None:
    """Train, convert twice, print one table, write one plot."""
    folder = output.require_folder(args.out)
    need("matplotlib.figure", "the plot")
    train, train_labels, test, test_labels = digits.load(args.seed)
    print(f"handwritten digits of scikit-learn: {len(train)} images to train on, {len(test)} to test on")
    columns = ("training", BarColumn(), MofNCompleteColumn(), "epochs, loss {task.fields[loss]:.3f}")
    with Progress(*columns, TimeElapsedColumn(), console=output.console(stderr=True)) as bar:
        task = bar.add_task("training", total=args.epochs, loss=float("nan"))
        net = digits.train(
            train, train_labels, args.epochs, args.seed, lambda loss: bar.update(task, advance=1, loss=loss)
        )

    batches = list(zip(test.split(BATCH), test_labels.split(BATCH), strict=True))
    dense, _ = dense_accuracy(net, batches)
    curves, rates = {}, {}
    for name, start in STARTS.items():
        snn = fastsnn.convert(net, train[:CALIBRATED], timesteps=TIMESTEPS, initial_potential=start)
        curves[name] = snn.accuracy_over_time(batches, progress=False)
        rates[name] = mean_firing_rate(snn, test[:RATED])

    output.accuracy_table("test accuracy in percent", curves, dense, steps_shown(TIMESTEPS))
    for name, rate in rates.items():
        print(f"mean firing rate, {name}: {rate:.3f} spikes a neuron and time-step ({RATED} test images)")
    plot = folder / "accuracy_over_time.png"
    output.plot_accuracy(plot, "handwritten digits, converted without retraining", curves, dense)
    print(f"plot: {plot}")


@torch.inference_mode()
def mean_firing_rate(snn: fastsnn.SpikingNetwork, images: Tensor) -> float:
    """Spikes a neuron and time-step, over all neurons of all layers."""
    trains = snn.spikes(images).values()
    spikes = sum(t.counts().sum(dtype=torch.float64).item() for t in trains)
    return spikes / sum(t.T * t.shape.numel() for t in trains)
