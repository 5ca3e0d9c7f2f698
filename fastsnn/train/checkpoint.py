"""Checkpoints: all that a training goes on with, in one file that is whole or not there."""

import io
from pathlib import Path
from typing import Any

import torch

from fastsnn._files import write_bytes

SCHEMA, VERSION = "fastsnn.training", 1
PARTS = ("about", "epoch", "model", "optimizer", "ema", "rows")


def write(path: Path, state: dict[str, Any]) -> None:
    """Writes PARTS: tensors and plain values only."""
    content = io.BytesIO()
    torch.save({"schema": SCHEMA, "version": VERSION, **{part: state[part] for part in PARTS}}, content)
    write_bytes(path, content.getvalue())


def read(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """PARTS, on the CPU, of a checkpoint of the same training.

    about  what the training is: what is compared

    Raises FileNotFoundError for no file; ValueError for any other one, or one of another training, saying what differs.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is nothing to go on with: no such checkpoint: {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # the reader of pickles raises whatever the first wrong byte leads to
        raise ValueError(f"{path} is not a whole checkpoint of fastsnn train: {repr(e).splitlines()[0]}") from e
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or any(part not in found for part in PARTS):
        raise ValueError(f"{path} is not a checkpoint of fastsnn train")
    if found["version"] != VERSION:
        raise ValueError(f"{path} is a checkpoint of version {found['version']}, this fastsnn reads {VERSION}")
    before, now = _flat(found["about"]), _flat(about)
    other = [
        f"{key} was {before.get(key)}, is now {now.get(key)}" for key in before | now if before.get(key) != now.get(key)
    ]
    if other:
        raise ValueError(f"{path} is of another training: {'; '.join(other)}")
    return found


def _flat(about: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in about.items():
        flat |= {f"{key} {name}": v for name, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat
