"""What `fastsnn eval` does: a user's network, converted, accuracy at every time-step beside the dense network."""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import fastsnn
from fastsnn._extras import need
from fastsnn._files import require_file, write_json
from fastsnn.commands import output
from fastsnn.commands.dense import dense_correct, share
from fastsnn.commands.setup import conversion, setup
from fastsnn.commands.versions import cuda_device, versions
from fastsnn.convert.parameters import fingerprint
from fastsnn.distributed import Group, joined, measured
from fastsnn.spikes import steps_shown

# arguments that do not change the result
UNSAID = ("verb", "traceback", "command", "out", "plot", "report")


@dataclass(frozen=True)
class Outcome:
    """Accuracy of the dense network and, [T], of the spiking one; on how many images, and how long it took."""

    dense: float
    curve: Tensor
    images: int
    calibrated_on: int
    notes: list[str]
    seconds: dict[str, float]


def run(args: argparse.Namespace) -> None:
    """Everything that can be refused is looked at before the first image is."""
    with joined(args.device) as group:
        out, plot = group.together(lambda: _outputs(args) if group.first else (None, None))
        found = _evaluated(args, group)
        if group.first:
            _show(args, found, group.size, out, plot)


def _outputs(args: argparse.Namespace) -> tuple[Path | None, Path | None]:
    out = require_file(args.out, (".json",)) if args.out else None
    plot = require_file(args.plot, output.PLOTS) if args.plot else None
    if plot:
        need("matplotlib.figure", "--plot")
    return out, plot


def _evaluated(args: argparse.Namespace, group: Group) -> Outcome:
    given = group.together(lambda: setup(args, group))
    group.require_same("weights of fingerprint", lambda: fingerprint(given.model)[:8])
    group.require_same("a number of images of", lambda: given.available)
    progress = sys.stderr.isatty() and group.first

    start = time.perf_counter()
    counted = group.together(lambda: dense_correct(given.model, given.batches))
    dense, count = share(*group.sum(torch.tensor(counted)).tolist())
    dense_seconds = time.perf_counter() - start
    device = given.calibration.device
    snn = group.network(
        lambda: fastsnn.convert(given.model, given.calibration, **conversion(args), progress=progress), device
    )
    if args.report and group.first:
        print(snn.report)
    start = time.perf_counter()
    curve = measured(group, snn, given.batches, args.timesteps, progress)
    seconds = {"dense": dense_seconds, "spiking": time.perf_counter() - start}
    return Outcome(dense, curve, count, len(given.calibration), given.notes, seconds)


def _show(args: argparse.Namespace, found: Outcome, processes: int, out: Path | None, plot: Path | None) -> None:
    for note in found.notes:
        print(f"note: {note}")
    images = f"first {found.images} images" if args.images else f"{found.images} images"
    curves = {args.method: found.curve}
    output.accuracy_table(f"accuracy in percent, {images}", curves, found.dense, steps_shown(args.timesteps))
    dense, spiking = found.seconds.values()
    shared = f", {processes} processes" if processes > 1 else ""
    output.console().print(f"dense {dense:.2f} s, spiking {spiking:.2f} s at {args.timesteps} time-steps{shared}")
    if plot:
        output.plot_accuracy(plot, args.model, curves, found.dense)
        print(f"plot: {plot}")
    if out:
        settings = {k: v for k, v in vars(args).items() if k not in UNSAID}
        write_json(
            out,
            {
                "dense_accuracy": found.dense,
                "accuracy_over_time": found.curve.tolist(),
                "images": found.images,
                "calibrated_on": found.calibrated_on,
                "notes": found.notes,
                "settings": settings,
                "seconds": found.seconds,
                "processes": processes,
                "threads": torch.get_num_threads(),
                "cuda_device": cuda_device() if args.device == "cuda" else None,
                "versions": versions(),
            },
        )
        print(f"results: {out}")
