"""What `fastsnn compare-methods` does: a user's network, converted by several methods, side by side."""

import argparse
import sys
from pathlib import Path
from typing import Any

import fastsnn
from fastsnn.commands import output
from fastsnn.commands.setup import setup
from fastsnn.comparison import Comparison, Interrupted
from fastsnn.comparison.candidates import candidates
from fastsnn.comparison.result import require_outputs
from fastsnn.comparison.table import failures, tables
from fastsnn.errors import ConversionError

FORM = "NAME or NAME:OPTION=VALUE,OPTION=VALUE, such as opi:initial-potential=0"


def run(args: argparse.Namespace) -> None:
    """Everything that can be refused is looked at before the first image is."""
    paths = require_outputs(args.out)
    methods = named(args.methods) if args.methods else None
    candidates(methods, {})
    given = setup(args)
    try:
        result = fastsnn.compare_methods(
            given.model,
            given.batches,
            methods,
            args.timesteps,
            calibration=given.calibration,
            precision=args.precision,
            options={"max_pool": args.max_pool},
            batch=args.batch,
            progress=sys.stderr.isatty(),
            save=paths,
            command=args.command,
            notes=given.notes,
        )
    except Interrupted as stopped:
        _show(stopped.comparison, paths)
        raise
    _show(result, paths)
    if all(row["failed"] for row in result.rows):
        raise ConversionError("no method has a result:\n" + "\n".join(failures(result.rows)))


def _show(result: Comparison, paths: list[Path]) -> None:
    output.console().print(tables(result.document))
    for path in paths:
        print(f"{'comparison' if path.suffix == '.json' else 'plot'}: {path}")


def named(given: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label -> (name, options), the label being what was written. Raises ValueError for what is not FORM."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for text in given:
        if text in found:
            raise ValueError(f"--methods: {text} is there twice")
        name, colon, rest = text.partition(":")
        options: dict[str, Any] = {}
        for part in rest.split(",") if colon else ():
            option, equals, value = part.partition("=")
            if not option or not equals:
                raise ValueError(f"--methods should be {FORM}, got {text!r}")
            options[option.replace("-", "_")] = _value(value)
        found[text] = (name, options)
    return found


def _value(text: str) -> Any:
    """A truth value or a number where it is one."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
