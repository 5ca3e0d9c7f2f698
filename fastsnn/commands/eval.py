"""What `fastsnn eval` does: a user's network, converted, accuracy at every time-step beside the dense network."""

import argparse
import sys
import time

import torch

import fastsnn
from fastsnn import data
from fastsnn._extras import need
from fastsnn.commands import output
from fastsnn.commands.dense import OnDevice, dense_accuracy
from fastsnn.commands.factory import build
from fastsnn.commands.versions import cuda_device, versions
from fastsnn.weights import load_into


def run(args: argparse.Namespace) -> None:
    """Everything that can be refused is looked at before the first image is."""
    out = output.require_file(args.out, (".json",)) if args.out else None
    plot = output.require_file(args.plot, output.PLOTS) if args.plot else None
    if plot:
        need("matplotlib.figure", "--plot")
    console = output.console()
    device = _device(args.device)
    model = build(args.model)
    notes = []
    if args.weights:
        load_into(model, args.weights)
    else:
        notes.append(f"no --weights: the weights are those that {args.model} sets")
    model = model.to(device)

    prepare = data.Prepare(args.image_size, args.resize, args.mean, args.std)
    images = data.load(args.data, "test", prepare)
    batches = OnDevice(data.batches(images, args.batch_size, args.images), device)
    calibration, note = data.calibration_images(
        args.calibration_data or args.data, args.calibration_images, prepare, args.seed
    )
    notes += [note] if note else []

    start = time.perf_counter()
    dense, count = dense_accuracy(model, batches)
    dense_seconds = time.perf_counter() - start
    snn = fastsnn.convert(model, calibration.to(device), **_conversion(args), progress=sys.stderr.isatty())
    if args.report:
        print(snn.report)
    start = time.perf_counter()
    curve = snn.accuracy_over_time(batches, progress=sys.stderr.isatty()).cpu()
    spiking_seconds = time.perf_counter() - start

    for note in notes:
        print(f"note: {note}")
    title = f"accuracy in percent, first {count} images" if args.images else f"accuracy in percent, {count} images"
    output.accuracy_table(title, {args.method: curve}, dense, output.steps_shown(args.timesteps))
    console.print(f"dense {dense_seconds:.2f} s, spiking {spiking_seconds:.2f} s at {args.timesteps} time-steps")
    if plot:
        output.plot_accuracy(plot, args.model, {args.method: curve}, dense)
        print(f"plot: {plot}")
    if out:
        settings = {k: v for k, v in vars(args).items() if k not in ("verb", "traceback", "out", "plot", "report")}
        output.write_json(
            out,
            {
                "dense_accuracy": dense,
                "accuracy_over_time": curve.tolist(),
                "images": count,
                "calibrated_on": len(calibration),
                "notes": notes,
                "settings": settings,
                "seconds": {"dense": dense_seconds, "spiking": spiking_seconds},
                "threads": torch.get_num_threads(),
                "cuda_device": cuda_device() if args.device == "cuda" else None,
                "versions": versions(),
            },
        )
        print(f"results: {out}")


def _conversion(args: argparse.Namespace) -> dict:
    return dict(
        method=args.method,
        timesteps=args.timesteps,
        threshold=args.threshold,
        per_channel=not args.per_layer,
        initial_potential=args.initial_potential,
        max_pool=args.max_pool,
        precision=args.precision,
        seed=args.seed,
    )


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
        raise ValueError(f"--device cuda: no CUDA device is available (torch {torch.__version__}, built for {build})")
    return torch.device(name)
