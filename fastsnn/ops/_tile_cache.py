"""Tiles that were measured on this machine: one file for each kind of GPU and each version of the kernels."""

import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import astuple
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock

import torch

from fastsnn import _env
from fastsnn.ops._tiles import Tile

_lock = Lock()


def find(key: str, device: torch.device) -> Tile | None:
    """The tile that was measured to be the fastest, or None."""
    return _read(_path(device)).get(key)


def store(key: str, tile: Tile, device: torch.device) -> None:
    """Keeps a tile for this process, and for later ones where the folder can be written to."""
    path = _path(device)
    with _lock:
        known = _read(path)
        known[key] = tile
        text = json.dumps({k: astuple(t) for k, t in sorted(known.items())}, indent=1)
        name = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, suffix=".json")
            with os.fdopen(handle, "w") as file:
                file.write(text)
            os.replace(name, path)
        except OSError:
            # measured again by the next process, which is all that is lost
            if name is not None:
                with suppress(OSError):
                    os.unlink(name)


@cache
def _read(path: Path) -> dict[str, Tile]:
    try:
        return {key: _tile(numbers) for key, numbers in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _tile(numbers: list[int]) -> Tile:
    if not all(type(n) is int and n > 0 for n in numbers):
        raise ValueError(f"not a tile: {numbers}")
    return Tile(*numbers)


def _path(device: torch.device) -> Path:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "interpreter"
    parts = (name, "triton", _version("triton"), "fastsnn", _version("fastsnn"))
    return Path(_env.CACHE) / (re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).lower() + ".json")


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "0"
