"""fastsnn beside every other way to run the same networks: `make peers`.

python benchmarks/peers/run.py [--all | --check] [--networks NAME ...] [--against NAME ...] [--timesteps T ...]
                               [--batches B ...] [--device cuda]

One process for each network and opponent, in which fastsnn, the dense network and the opponent take turns. Results are
checked before any time is taken. Rows go to benchmarks/results/peers/<device>.jsonl; the README's table and the chart
docs/peers.svg are made from them in the end. An opponent that does not install or does not compute the same has a row
that says why, and no time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parent
if __name__ == "__main__":
    # benchmarks import one another by name; this folder itself must not hide packages
    sys.path[0] = str(BENCHMARKS)

import torch  # noqa: E402
from rows import RESULTS, Row, append  # noqa: E402

from peers import environments, matrix, opponents, report  # noqa: E402
from peers.matrix import Case  # noqa: E402
from peers.prepare import PRECISIONS  # noqa: E402

ROWS = RESULTS / "peers"
# seconds that one process may take
LIMIT = 1800.0


class Session:
    """What all processes of a run have in common."""

    def __init__(self, folder: Path, device: torch.device, threads: int, timed: bool) -> None:
        self.folder, self.device, self.timed = folder, device, timed
        self.options = ("--device", str(device), "--threads", str(threads))
        self.begun = perf_counter()

    def say(self, text: str) -> None:
        print(f"{perf_counter() - self.begun:6.0f} s  {text}", flush=True)

    def start(self, python: str, module: str, *words: str) -> subprocess.CompletedProcess:
        """One of this package's modules, on the folder."""
        command = [python, "-m", module, str(self.folder), *words, *self.options]
        environment = os.environ | {"PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{ROOT}"}
        try:
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"took more than {LIMIT:.0f} s")

    def prepare(self, network: str, steps: Sequence[int]) -> str:
        """Empty, or why the network is not measured."""
        done = self.start(sys.executable, "peers.prepare", network, *map(str, sorted(steps)))
        return _why(done)

    def compare(self, network: str, name: str, cases: Sequence[Case]) -> list[Row]:
        """A row a case: with figures, or with the reason why there are none."""
        python, why = environments.make(name)
        found: dict[tuple[int, int], Row] = {}
        if not why:
            out = self.folder / f"{network}-{name}.jsonl"
            words = [f"{case.T}:{case.batch}" for case in cases]
            done = self.start(
                python, "peers.worker", network, name, str(out), *words, *([] if self.timed else ["--check"])
            )
            lines = out.read_text().splitlines() if out.exists() else []
            found = {(row["T"], row["batch"]): row for row in map(json.loads, lines)}
            why = _why(done) or "the process ended without a result"
        rows = []
        for case in cases:
            row = found.get((case.T, case.batch), {"reason": why})
            if case.memory and self.timed and "reason" not in row:
                row["memory_mib"] = self.memory(python, case, name, row["way"])
            row |= {"case": "peers", "network": network, "T": case.T, "batch": case.batch, "opponent": name}
            rows.append(row)
        return rows

    def memory(self, python: str, case: Case, what: str, way: Sequence[str] | None) -> float | None:
        """MiB that a run adds to a fresh process; None where it is not found out."""
        if what in opponents.COMPILED:
            return None
        words = (case.network, str(case.T), str(case.batch), what, *(("--way", *way) if way else ()))
        done = self.start(python, "peers.memory", *words)
        if done.returncode:
            self.say(f"    memory of {what}: {_why(done)}")
            return None
        return json.loads(done.stdout.splitlines()[-1])["peak"]


def run(session: Session, plan: dict[str, dict[str, list[Case]]], rows: Path | None, gpu: torch.device | None) -> int:
    """Measures a plan, says what came of it, and appends rows to a folder; how many cases have no result."""
    failed = 0
    for network, against in plan.items():
        cases = {case for of in against.values() for case in of}
        session.say(f"{network}: converting for T = {', '.join(map(str, sorted({case.T for case in cases})))}")
        if why := session.prepare(network, list({case.T for case in cases})):
            session.say(f"    not measured: {why}")
            failed += len(cases)
            continue
        ours: dict[tuple[int, int], Any] = {}
        for case in sorted({(c.T, c.batch) for c in cases if c.memory and session.timed}):
            one = Case(network, *case)
            ours[case] = {p: session.memory(sys.executable, one, p, None) for p in PRECISIONS[session.device.type]}
        for name, of in against.items():
            for row in session.compare(network, name, of):
                row["ours_memory_mib"] = ours.get((row["T"], row["batch"]))
                failed += "reason" in row
                session.say("    " + report.sentence(row))
                if rows is not None and "busy" not in row:
                    append(row, rows, gpu)
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--all", action="store_true", help="every network, T and batch, which takes hours")
    size.add_argument("--check", action="store_true", help="a tiny network and no times: do all compute the same?")
    parser.add_argument("--networks", nargs="+", choices=matrix.NETWORKS, help="only these")
    parser.add_argument("--against", nargs="+", choices=opponents.NAMES, help="only these")
    parser.add_argument("--timesteps", nargs="+", type=int, choices=matrix.STEPS, help="only these, of those chosen")
    parser.add_argument("--batches", nargs="+", type=int, choices=matrix.BATCHES, help="only these, of those chosen")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    cases = matrix.CHECKS if args.check else matrix.ALL if args.all else matrix.DEFAULT
    plan = matrix.chosen(cases, args.networks, args.against, args.timesteps, args.batches)
    if not plan:
        parser.error("no case is left: --all has every network, T and batch, and without it there are few")
    gpu = args.device if args.device.type == "cuda" else None
    with tempfile.TemporaryDirectory(prefix="fastsnn-peers-") as folder:
        session = Session(Path(folder), args.device, args.threads, timed=not args.check)
        failed = run(session, plan, None if args.check else ROWS, gpu)
    if args.check:
        return 1 if failed else 0
    return report.main([])


def _why(done: subprocess.CompletedProcess) -> str:
    """Empty, or the last line of what a failed process said."""
    if not done.returncode:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return (lines or [f"exit status {done.returncode}"])[-1]


if __name__ == "__main__":
    sys.exit(main())
