"""How results get to disk: paths are checked before work begins, and files are whole or not there."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

DOTS_PER_INCH = 150


def require_file(path: str | Path, suffixes: Sequence[str]) -> Path:
    """The path, after a check that a file can be written there: a result must not be lost after a long run.

    Raises ValueError where its name ends otherwise, or nothing can be written there.
    """
    path = Path(path)
    if path.suffix not in suffixes:
        raise ValueError(f"output file should end in {' or '.join(suffixes)}, got {path}")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"output file {path}: {'is a folder' if path.is_dir() else f'no folder {path.parent}'}")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as e:
        raise ValueError(f"output file {path}: its folder cannot be written: {e.strerror}") from e
    return path


def write_text(path: Path, text: str) -> None:
    """The whole file or none of it: written beside its place, then renamed."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_figure(path: Path, figure: Any) -> None:
    """As `write_text`: a matplotlib Figure, in the format that the path's suffix names."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:], dpi=DOTS_PER_INCH)
    write_bytes(path, drawn.getvalue())


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """As `write_text`. Raises ValueError for numbers that are NaN or infinite, which JSON cannot say."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, what: str, schema: str, version: int, keys: Collection[str]) -> dict[str, Any]:
    """A document that says its own schema and version, and has all keys. Raises ValueError for any other file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a {what}: {error}") from error
    if not isinstance(found, dict) or found.get("schema") != schema:
        raise ValueError(f'{path} is not a {what}: it should say "schema": "{schema}"')
    if found.get("version") != version:
        raise ValueError(f"{path} has version {found.get('version')!r} of {schema}, this fastsnn reads {version}")
    absent = sorted(set(keys) - set(found))
    if absent:
        raise ValueError(f"{path} is not a whole {what}: it lacks {', '.join(absent)}")
    return found


def read_tensors(
    path: Path, file: str, what: str, schema: str, version: str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """(metadata, tensors) of a safetensors file that says its schema and version.

    file, what  what it is called in errors: where it is missing, and where it is another

    Raises FileNotFoundError where there is none, ValueError for any other file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such {file}: {path}")
    try:
        with safe_open(str(path), "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a {what}: not a whole safetensors file: {error}") from error
    if metadata.get("schema") != schema:
        raise ValueError(f"{path} is not a {what}: its metadata should say {schema}")
    if metadata.get("version") != version:
        raise ValueError(f"{path} has version {metadata.get('version')} of {schema}, this fastsnn reads {version}")
    return metadata, tensors


def digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Of a header's text and of every bit of the tensors, on the CPU."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        flat = tensor.reshape(-1)
        found.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return found.hexdigest()
