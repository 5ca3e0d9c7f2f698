"""What `fastsnn compare` does: profiles side by side, in the terminal and as a page."""

import argparse
from pathlib import Path

from fastsnn._files import write_text
from fastsnn.commands import output
from fastsnn.profile.compare import tables
from fastsnn.profile.html import compare
from fastsnn.profile.result import Profile, require_outputs


def run(args: argparse.Namespace) -> None:
    """Reads all files before anything is shown."""
    paths = require_outputs([args.out] if args.out else [], (".html",))
    documents = {name: Profile.load(file).document for name, file in _named(args.profiles).items()}
    output.console().print(tables(documents))
    for path in paths:
        write_text(path, compare(documents))
        print(f"page: {path}")


def _named(files: list[str]) -> dict[str, Path]:
    """Files by their names without ending; by the whole path where that is not enough to tell them apart."""
    stems = [Path(file).stem for file in files]
    names = stems if len(set(stems)) == len(stems) else files
    if len(set(names)) < len(files):
        raise ValueError(f"compare needs different files, got {' and '.join(files)}")
    return {name: Path(file) for name, file in zip(names, files, strict=True)}
