"""How long several runs take, in turn in one process, so that whatever else the machine does meets all of them."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy
import torch

from fastsnn.profile.schema import Percentiles

# rounds that are taken whatever they cost: with fewer, percentiles say nothing
LEAST = 3
Progress = Callable[[int, int], None]


@torch.inference_mode()
def interleaved(
    runs: Mapping[str, Callable[[], Any]],
    device: torch.device,
    rounds: int = 15,
    warm_up: int = 2,
    budget: float = 10.0,
    progress: Progress | None = None,
) -> dict[str, list[float]]:
    """Seconds of each round of each run, in the order of the rounds. Every round has all runs once, in their order.

    device    a CUDA device is waited for before and after each run: a time is of all the work, launches included
    rounds    at most, at least LEAST
    warm_up   times that each runs before; these are not counted, and not part of the budget
    budget    seconds after which no further round begins; LEAST rounds are taken in any case
    progress  called after each round with how many are done, and how many there are at most

    The clock is `time.perf_counter`. Raises ValueError without runs, and for fewer rounds than LEAST.
    """
    if not runs:
        raise ValueError("interleaved needs at least one run, got none")
    if rounds < LEAST or warm_up < 0:
        raise ValueError(f"interleaved needs {LEAST} rounds or more and warm_up >= 0, got {rounds} and {warm_up}")
    for _ in range(warm_up):
        for run in runs.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    begin = perf_counter()
    done = 0
    while done < LEAST or (done < rounds and perf_counter() - begin < budget):
        for name, run in runs.items():
            seconds[name].append(timed(run, device))
        done += 1
        if progress is not None:
            progress(done, rounds)
    return seconds


def timed(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one run, with all that it started on the device."""
    wait(device)
    start = perf_counter()
    run()
    wait(device)
    return perf_counter() - start


def wait(device: torch.device) -> None:
    """Returns when a CUDA device has done all that it was given; at once for a CPU, which returns when it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def percentiles(seconds: list[float]) -> Percentiles:
    """The 20th, 50th and 80th percentile of times, in milliseconds.

    Of n sorted times, percentile p lies at place p / 100 * (n - 1), counted from 0, and between two times on the line
    that joins them (numpy's "linear"). Raises ValueError without times.
    """
    if not seconds:
        raise ValueError("percentiles needs at least one time, got none")
    p20, p50, p80 = (float(value) for value in 1e3 * numpy.percentile(seconds, [20, 50, 80]))
    return {"p20": p20, "p50": p50, "p80": p80}
