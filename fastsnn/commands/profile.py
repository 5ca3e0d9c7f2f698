"""What `fastsnn profile` does: a user's network, converted, and what that costs beside the dense one."""

import argparse
import copy
import sys
from pathlib import Path

import fastsnn
from fastsnn.cli import Parser, add_conversion
from fastsnn.commands import output
from fastsnn.commands.setup import conversion, setup
from fastsnn.profile.energy import chosen
from fastsnn.profile.result import Interrupted, Profile, require_outputs
from fastsnn.profile.table import tables


def run(args: argparse.Namespace) -> None:
    """Everything that can be refused is looked at before the first image is."""
    paths = require_outputs(args.out)
    models, others = chosen(args.energy_model), _others(args)
    given, progress = setup(args), sys.stderr.isatty()
    snn = fastsnn.convert(given.model, given.calibration, **conversion(args), progress=progress)
    beside = {
        name: fastsnn.convert(given.model, given.calibration, **conversion(other), progress=progress)
        for name, other in others.items()
    }
    try:
        result = fastsnn.profile(
            snn,
            given.batches,
            dense=given.model,
            beside=beside,
            batch=args.batch,
            rounds=args.rounds,
            compile=not args.no_compile,
            energy_models=models,
            save=paths,
            progress=progress,
            command=args.command,
            notes=given.notes,
        )
    except Interrupted as stopped:
        _show(stopped.profile, paths)
        raise
    _show(result, paths)


def _show(result: Profile, paths: list[Path]) -> None:
    output.console().print(tables(result.document))
    for path in paths:
        print(f"{'page' if path.suffix == '.html' else 'profile'}: {path}")


def _others(args: argparse.Namespace) -> dict[str, argparse.Namespace]:
    """The arguments of each conversion that --also names: those given, but for one."""
    parser = Parser(prog="fastsnn profile --also", add_help=False)
    add_conversion(parser)
    found = {}
    for text in args.also:
        option, given, value = text.partition("=")
        if not option or not given:
            raise ValueError(f"--also should be OPTION=VALUE, such as initial-potential=0, got {text!r}")
        # a parser gives its defaults to what is absent only, so all that was given stays
        other = copy.copy(args)
        # that file is of the conversion that is profiled
        other.checkpoint = None
        found[text] = parser.parse_args([f"--{option}={value}"], other)
    return found
