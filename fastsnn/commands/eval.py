"""What `fastsnn eval` does: a user's network, converted, accuracy at every time-step beside the dense network."""

import argparse
import sys
import time

import torch

import fastsnn
from fastsnn._extras import need
from fastsnn._files import require_file, write_json
from fastsnn.commands import output
from fastsnn.commands.dense import dense_accuracy
from fastsnn.commands.setup import conversion, setup
from fastsnn.commands.versions import cuda_device, versions
from fastsnn.spikes import steps_shown

# arguments that do not change the result
UNSAID = ("verb", "traceback", "command", "out", "plot", "report")


def run(args: argparse.Namespace) -> None:
    """Everything that can be refused is looked at before the first image is."""
    out = require_file(args.out, (".json",)) if args.out else None
    plot = require_file(args.plot, output.PLOTS) if args.plot else None
    if plot:
        need("matplotlib.figure", "--plot")
    console = output.console()
    given = setup(args)
    model, batches, notes = given.model, given.batches, given.notes

    start = time.perf_counter()
    dense, count = dense_accuracy(model, batches)
    dense_seconds = time.perf_counter() - start
    snn = fastsnn.convert(model, given.calibration, **conversion(args), progress=sys.stderr.isatty())
    if args.report:
        print(snn.report)
    start = time.perf_counter()
    curve = snn.accuracy_over_time(batches, progress=sys.stderr.isatty()).cpu()
    spiking_seconds = time.perf_counter() - start

    for note in notes:
        print(f"note: {note}")
    title = f"accuracy in percent, first {count} images" if args.images else f"accuracy in percent, {count} images"
    output.accuracy_table(title, {args.method: curve}, dense, steps_shown(args.timesteps))
    console.print(f"dense {dense_seconds:.2f} s, spiking {spiking_seconds:.2f} s at {args.timesteps} time-steps")
    if plot:
        output.plot_accuracy(plot, args.model, {args.method: curve}, dense)
        print(f"plot: {plot}")
    if out:
        settings = {k: v for k, v in vars(args).items() if k not in UNSAID}
        write_json(
            out,
            {
                "dense_accuracy": dense,
                "accuracy_over_time": curve.tolist(),
                "images": count,
                "calibrated_on": len(given.calibration),
                "notes": notes,
                "settings": settings,
                "seconds": {"dense": dense_seconds, "spiking": spiking_seconds},
                "threads": torch.get_num_threads(),
                "cuda_device": cuda_device() if args.device == "cuda" else None,
                "versions": versions(),
            },
        )
        print(f"results: {out}")
