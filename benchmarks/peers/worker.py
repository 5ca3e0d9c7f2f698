"""One process: fastsnn, the dense network and one opponent on the same images, checked, then measured in turn.

python -m peers.worker FOLDER NETWORK OPPONENT OUT T:BATCH [T:BATCH ...] [--device cuda] [--threads N] [--check]

FOLDER is what peers.prepare has left. Appends one line of JSON a case to OUT: what was measured, or the reason why not.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from checks import WrongResult, near
from timing import Busy, Times, interleaved
from torch import Tensor

from fastsnn.profile import meters
from peers import dense, opponents
from peers.judge import BOUND, judged
from peers.opponents import Absent, Opponent
from peers.prepare import JUDGED, PRECISIONS, Dense, Spiking, read, read_spiking, repeated
from peers.simulated import Way

# times that a busy machine is waited for, a few seconds each
ATTEMPTS = 6
ROUNDS, LEAST, BUDGET = 15, 3, 3.0
# seconds that each run repeats for, where the machine counts joules
JOULES = 3.0

Case = tuple[int, int]


@torch.inference_mode()
def compare(
    folder: Path, network: str, name: str, case: Case, device: torch.device, timed: bool, way: Way | None = None
) -> dict[str, Any]:
    """The figures of one opponent on one case, (T, batch).

    timed   whether to take times; the results are checked in any case

    Raises Absent, WrongResult, and Busy where other processes use the processors.
    """
    net, snn = read(folder, network), read_spiking(folder, network, case[0])
    _, batch = case
    x = net.batch(batch).to(device)
    begun = perf_counter()
    opponent = opponents.build(name, net, snn, x, way)
    found = check(name, opponent, net, snn, batch)
    built = perf_counter() - begun
    ours = {p: snn.network(p, device) for p in PRECISIONS[device.type]}
    for precision, network_ in ours.items():
        want = repeated(snn.ours[precision], batch)
        near(network_(x).cpu(), want, 1e-5 * want.abs().max().item(), f"{precision}: logits here and when converted")
    row: dict[str, Any] = {
        "settings": opponent.settings,
        "version": opponent.version,
        "way": opponent.way and [opponent.way.order, opponent.way.layout],
        **found,
        "weights": net.weights,
        "images": net.pictures,
        "rate": snn.rate,
        "ours_near": snn.near,
        "built_s": built if name in opponents.COMPILED else None,
        **opponents.versions(),
    }
    if not timed:
        return row
    eager, image, baseline = dense.eager(net.model, x)
    runs: dict[str, Callable] = {p: partial(network_, x) for p, network_ in ours.items()}
    runs |= {"dense": partial(eager, image), "opponent": opponent.run}
    if device.type == "cuda":
        runs = {key: partial(_finished, run) for key, run in runs.items()}
    times = taken(runs)
    return (
        row
        | figures({key: t.least for key, t in times.items()}, batch)
        | {
            "median_ms": {key: t.median for key, t in times.items()},
            "rounds": times["opponent"].rounds,
            "baseline": f"the dense network: {baseline}",
            "joules": joules(runs, batch, device),
        }
    )


def taken(runs: dict[str, Callable]) -> dict[str, Times]:
    """Times in turn, as soon as the machine has nothing else to do. Raises Busy where it always has."""
    for _ in range(ATTEMPTS - 1):
        try:
            return interleaved(runs, rounds=ROUNDS, least=LEAST, budget=BUDGET)
        except Busy:
            continue
    return interleaved(runs, rounds=ROUNDS, least=LEAST, budget=BUDGET)


def check(name: str, opponent: Opponent, net: Dense, snn: Spiking, batch: int) -> dict[str, Any]:
    """What an opponent's results differ from the reference in. Raises WrongResult where that is more than it may be."""
    got = opponent.run().cpu()
    if opponent.recorded is None:
        target, quantised = repeated(net.logits, batch), name == "dense-int8"
        # batch norm folded: each of some twenty layers rounds at 2^-24
        allowed = dense.QUANTISED * target.std().item() if quantised else 1e-4 * target.abs().max().item()
        return {"allowed": allowed, "drift": near(got, target, allowed, f"logits of {name} and of float64")}
    few = net.images[:JUDGED]
    _, spikes = opponent.recorded(few.to(opponent.image.device))
    found = judged(net.model, snn.thresholds, few, spikes, net.steps or snn.T, name)
    counts = [train.sum(0) for train in spikes]
    differ = sum(int((a != b).sum()) for a, b in zip(counts, snn.counts, strict=True))
    allowed = _error(net, snn)
    return {
        "bound": BOUND,
        "near": found.near,
        "differs": found.differs,
        "counts_differ": differ / sum(c.numel() for c in counts),
        # in float32 a spike here and there differs; what that changes stays below what T steps change
        "allowed": allowed,
        "drift": near(got, repeated(snn.logits, batch), allowed, f"logits of {name} and of float64"),
    }


def figures(milliseconds: dict[str, float], batch: int) -> dict[str, Any]:
    """Times and ratios of a row, from the least time of each."""
    theirs, dense_ms = milliseconds["opponent"], milliseconds["dense"]
    ours = {key: ms for key, ms in milliseconds.items() if key not in ("opponent", "dense")}
    return {
        "opponent_ms": theirs,
        "dense_ms": dense_ms,
        "ours_ms": ours,
        "image_ms": theirs / batch,
        "ratio_dense": theirs / dense_ms,
        "ours_ratio_dense": {key: ms / dense_ms for key, ms in ours.items()},
        "speedup": {key: theirs / ms for key, ms in ours.items()},
    }


def joules(runs: dict[str, Callable], batch: int, device: torch.device) -> dict[str, float] | None:
    """Of an image, idle power subtracted; None where the machine does not count them."""
    if isinstance(meters.find(device), dict):
        return None
    found = meters.measured(runs, batch, device, JOULES)
    return {run["name"]: run["joules_an_image"] for run in found["runs"]} if "runs" in found else None


def _error(net: Dense, snn: Spiking) -> float:
    """What T steps change: the mean difference of logits from the dense network's."""
    return (snn.logits - net.logits).abs().mean().item()


def _finished(run: Callable[[], Tensor]) -> None:
    run()
    torch.cuda.synchronize()


def attempt(folder: Path, network: str, name: str, case: Case, device: torch.device, timed: bool) -> dict[str, Any]:
    """`compare`, or the reason why there is no result; "busy" where there may be one another time."""
    try:
        return compare(folder, network, name, case, device, timed)
    except Busy as busy:
        return {"reason": str(busy), "busy": True}
    except Absent as absent:
        return {"reason": str(absent)}
    except WrongResult as wrong:
        return {"reason": f"wrong result: {wrong}"}
    except Exception as error:  # compilers and peers raise many types; the other cases go on
        lines = str(error).strip().splitlines() or ["no reason given"]
        return {"reason": f"{type(error).__name__}: {lines[0]}"}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("network")
    parser.add_argument("opponent", choices=opponents.NAMES)
    parser.add_argument("out", type=Path)
    parser.add_argument("cases", nargs="+", metavar="T:BATCH")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="take no times")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    if args.device.type == "cuda":
        # numbers of 10 bits would be another network
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    for text in args.cases:
        T, batch = map(int, text.split(":"))
        row = attempt(args.folder, args.network, args.opponent, (T, batch), args.device, not args.check)
        with args.out.open("a") as out:
            out.write(json.dumps({"T": T, "batch": batch, **row}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
