"""How times are taken: several callables in turn, in one process, on a machine that has nothing else to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import torch

STAT = Path("/proc/stat")
# share of a thread's processor that has to be free; the clock of STAT ticks too coarsely for more
FREE = 0.7
# seconds that a measurement waits for them
PATIENCE = 5.0


class Busy(Exception):
    """Other processes take processors that the timed threads need."""


@dataclass(frozen=True)
class Times:
    """Of several rounds: the least and the median time in milliseconds, and how many rounds there were."""

    least: float
    median: float
    rounds: int


@torch.inference_mode()
def interleaved(
    runs: Mapping[str, Callable[[], Any]],
    rounds: int = 15,
    least: int = 3,
    budget: float = 2.0,
    warm: bool = True,
    alone: bool = True,
) -> dict[str, Times]:
    """Times of each callable, taken in turn, so that whatever else the machine does meets all of them.

    rounds  most rounds
    least   rounds that are taken whatever they cost
    budget  seconds after which no further round is begun
    warm    run each once before
    alone   raise Busy where there is, before or after, no free processor for each thread: threads that wait for one
            another then take many times as long, and not equally for all
    """
    if not runs or not 1 <= least <= rounds:
        raise ValueError(f"interleaved needs callables, and 1 <= least <= rounds; got {len(runs)}, {least}, {rounds}")
    if alone:
        require_free(torch.get_num_threads(), PATIENCE)
    for run in runs.values() if warm else ():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    begin = perf_counter()
    done = 0
    while done < least or (done < rounds and perf_counter() - begin < budget):
        for name, run in runs.items():
            start = perf_counter()
            run()
            seconds[name].append(perf_counter() - start)
        done += 1
    if alone:
        require_free(torch.get_num_threads())
    return {name: Times(1e3 * min(s), 1e3 * median(s), done) for name, s in seconds.items()}


def fastest(runs: Mapping[str, Callable[[], Any]]) -> str:
    """The name of the callable that takes the least time, from a few rounds."""
    times = interleaved(runs, rounds=5, least=2, budget=0.5, alone=False)
    return min(times, key=lambda name: times[name].least)


def require_free(threads: int, patience: float = 0.0) -> None:
    """Raises Busy unless that many processors are free, or become so within some seconds."""
    until = perf_counter() + patience
    while (free := free_processors()) < FREE * threads:
        if perf_counter() >= until:
            raise Busy(f"{threads} threads need as many free processors, but only {free:.1f} are free")


def free_processors(seconds: float = 0.15) -> float:
    """Processors that nobody uses, averaged over a short time; infinite where the system does not tell."""
    if not STAT.exists():
        return float("inf")
    before = _idle_and_all()
    sleep(seconds)
    idle, total = (now - then for now, then in zip(_idle_and_all(), before, strict=True))
    return idle / total * _processors() if total else float("inf")


def _idle_and_all() -> tuple[int, int]:
    """Ticks of all processors: without work, and altogether."""
    ticks = [int(n) for n in STAT.read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _processors() -> int:
    return sum(line.startswith("cpu") for line in STAT.read_text().splitlines()) - 1
