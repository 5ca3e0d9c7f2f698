"""One benchmark row: the figures of a case with the machine and versions they were taken on, appended to a file."""

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import torch

import fastsnn

RESULTS = Path(__file__).parent / "results"


def device() -> str:
    """Name of the processor that torch runs on, as a file name."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return "".join(c if c.isalnum() else "-" for c in name).strip("-").lower()


def append(row: dict, folder: Path = RESULTS) -> Path:
    """Adds a row to the device's file, with versions, threads and commit; rows are never edited."""
    commit, dirty = _commit()
    full = row | {
        "device": device(),
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


def latest(path: Path) -> list[dict]:
    """The newest row of each case in a file, in the order in which the cases first came."""
    newest: dict[tuple, dict] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        newest[row["case"], row["precision"], row["batch"], row["T"]] = row
    return list(newest.values())


def table(rows: list[dict]) -> str:
    """The README's table of these rows."""
    lines = ["| network | T | precision | batch | dense ms | spiking ms | ratio |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        figures = f"{r['dense_ms']:.2f} | {r['snn_ms']:.0f} | {r['ratio']:.0f} |"
        lines.append(f"| {r['case']} | {r['T']} | {r['precision']} | {r['batch']} | {figures}")
    return "\n".join(lines)


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
