"""One benchmark row: the figures of a case with the machine and versions they were taken on, appended to a file."""

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import fastsnn
from fastsnn import _native

RESULTS = Path(__file__).resolve().parent / "results"

Row = dict[str, Any]

# what tells one case from another; a row has those that apply to it
KEY = (
    *("case", "network", "layer", "operator", "precision", "batch", "T", "threads"),
    *("backend", "op", "kind", "size", "opponent"),
)


def device(gpu: torch.device | None = None) -> str:
    """Name of a GPU, or of the processor where none is given, as a file name."""
    name = _processor() if gpu is None else torch.cuda.get_device_name(gpu)
    return "".join(c if c.isalnum() else "-" for c in name).strip("-").lower()


def append(row: Row, folder: Path = RESULTS, gpu: torch.device | None = None) -> Path:
    """Adds a row to the device's file, with versions, threads and commit; rows are never edited.

    gpu   what the row was measured on; the row then has its name, driver, CUDA and Triton, and no threads
    """
    commit, dirty = _commit()
    full = row | {
        "device": device(gpu),
        "processor": _processor(),
        "instruction_set": None if _native.reason() else _native.load().instruction_set(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "fastsnn": fastsnn.__version__,
        "commit": commit,
        "dirty": dirty,
        "utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if gpu is not None:
        full |= _gpu(gpu)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{device(gpu)}.jsonl"
    before = path.read_text() if path.exists() else ""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(before + json.dumps(full) + "\n")
    os.replace(temporary, path)
    return path


def latest(path: Path) -> list[Row]:
    """The newest row of each case in a file, in the order in which the cases first came."""
    newest: dict[tuple, Row] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        newest[tuple(row.get(name) for name in KEY)] = row
    return list(newest.values())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu(gpu: torch.device) -> Row:
    major, minor = torch.cuda.get_device_capability(gpu)
    return {
        "gpu": torch.cuda.get_device_name(gpu),
        "instruction_set": f"sm_{major}{minor}",
        "threads": None,
        "driver": driver(),
        "cuda": torch.version.cuda,
        "triton": installed("triton"),
    }


@cache
def driver() -> str | None:
    """Version of NVIDIA's driver, or None where nothing tells it."""
    text = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return text.splitlines()[0].strip() if text else None


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _output(*command: str) -> str:
    """What a command prints; nothing where it is not installed or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=RESULTS.parents[1], check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def _commit() -> tuple[str, bool]:
    def git(*words: str) -> str:
        return _output("git", *words)

    return git("rev-parse", "--short", "HEAD"), bool(git("status", "--porcelain", "--", ".", ":!benchmarks/results"))
