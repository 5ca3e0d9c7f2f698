"""One benchmark row: the figures of a case with the machine and versions they were taken on, appended to a file."""

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import fastsnn
from fastsnn import _native

RESULTS = Path(__file__).resolve().parent / "results"

Row = dict[str, Any]

# what tells one case from another; a row has those that apply to it
KEY = ("case", "network", "layer", "precision", "batch", "T", "threads")


def device() -> str:
    """Name of the processor, as a file name: every benchmark here runs on it."""
    return "".join(c if c.isalnum() else "-" for c in _processor()).strip("-").lower()


def append(row: Row, folder: Path = RESULTS) -> Path:
    """Adds a row to the device's file, with versions, threads and commit; rows are never edited."""
    commit, dirty = _commit()
    full = row | {
        "device": device(),
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
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{device()}.jsonl"
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


def _commit() -> tuple[str, bool]:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, cwd=RESULTS.parents[1], check=False)
        return done.stdout.strip()

    return git("rev-parse", "--short", "HEAD"), bool(git("status", "--porcelain", "--", ".", ":!benchmarks/results"))
