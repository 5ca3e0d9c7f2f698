"""How times are taken: several callables in turn, in one process, until a budget is spent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch


@dataclass(frozen=True)
class Times:
    """Of several rounds: the least and the median time in milliseconds, and how many rounds there were."""

    least: float
    median: float
    rounds: int


@torch.inference_mode()
def interleaved(
    runs: Mapping[str, Callable[[], Any]], rounds: int = 15, least: int = 3, budget: float = 2.0, warm: bool = True
) -> dict[str, Times]:
    """Times of each callable, taken in turn, so that whatever else the machine does meets all of them.

    rounds  most rounds
    least   rounds that are taken whatever they cost
    budget  seconds after which no further round is begun
    warm    run each once before
    """
    if not runs or not 1 <= least <= rounds:
        raise ValueError(f"interleaved needs callables, and 1 <= least <= rounds; got {len(runs)}, {least}, {rounds}")
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
    return {name: Times(1e3 * min(s), 1e3 * median(s), done) for name, s in seconds.items()}


def fastest(runs: Mapping[str, Callable[[], Any]]) -> str:
    """The name of the callable that takes the least time, from a few rounds."""
    times = interleaved(runs, rounds=5, least=2, budget=0.5)
    return min(times, key=lambda name: times[name].least)
