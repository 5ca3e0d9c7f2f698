"""How many joules repeated runs take, by a counter of the machine, with and without what it takes when left alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Thread
from time import perf_counter, sleep
from typing import Any, Protocol, TypeVar

import torch

from fastsnn.profile import nvml, rapl
from fastsnn.profile.schema import Measured, MeasuredEnergy, NotMeasurable, unavailable
from fastsnn.profile.turns import wait

# seconds that the idle power is taken over, before and after the runs, and that the machine rests ahead of each
IDLE, REST = 1.0, 0.5
# the shortest turn in seconds, and how many turns there are at most
TURN, TURNS = 1.0, 3
# seconds that a counter may take to move: NVML's moves every 20 to 100 ms, RAPL's every 1 ms
PATIENCE = 0.2
# a net energy below this share of the gross one is little more than the drift of the idle power
CERTAIN = 0.1


T = TypeVar("T")


class Meter(Protocol):
    """Counts joules. Its methods raise OSError, with the reason, where the machine does not tell.

    how       the counter, in words
    covers    which parts of the machine it counts
    interval  seconds between two readings, at most
    """

    how: str
    covers: str
    interval: float

    def start(self) -> None:
        """Counts from here."""

    def read(self) -> float:
        """Joules since the start."""


class MeterStopped(RuntimeError):
    """The machine stopped telling what it takes; says why."""


def find(device: torch.device) -> Meter | NotMeasurable:
    """The meter that counts what runs on a device take, or why there is none."""
    if device.type == "cuda":
        return nvml.find(device)
    if device.type == "cpu":
        return rapl.find()
    return unavailable(f"joules are counted on a CPU or a CUDA device, not on {device}")


def measured(
    runs: Mapping[str, Callable[[], Any]], images: int, device: torch.device, seconds: float = 3.0
) -> MeasuredEnergy | NotMeasurable:
    """`measure` with the meter of the device, or why it could not be done."""
    meter = find(device)
    if isinstance(meter, dict):
        return meter
    try:
        found = measure(meter, runs, images, device, seconds)
    except MeterStopped as error:
        return unavailable(str(error))
    return {"how": f"{meter.how}; {METHOD}", "covers": meter.covers, "runs": found}


METHOD = (
    f"idle power is the mean of two windows of {IDLE:g} s, before and after the runs, of the process with everything "
    "loaded; runs took turns; a window begins and ends when the counter moves"
)


@torch.inference_mode()
def measure(
    meter: Meter, runs: Mapping[str, Callable[[], Any]], images: int, device: torch.device, seconds: float
) -> list[Measured]:
    """Joules of each run, repeated.

    images   that one run processes
    seconds  that each run is repeated for, at least. In up to TURNS turns of at least TURN seconds, so that what
             changes on the machine meets all runs

    Each run runs once before. Net energy is the gross one minus the idle power times the time. It is not cut off at 0:
    where noise is larger than the energy it may be negative, and `doubts` says so.

    Raises ValueError for settings that make no sense, MeterStopped where the meter stops or does not move.
    """
    if not runs or images < 1 or seconds <= 0:
        raise ValueError(f"measure needs runs, images and seconds above 0, got {len(runs)}, {images} and {seconds}")
    for run in runs.values():
        run()
    wait(device)
    before = _idle(meter)
    turns = min(max(int(seconds / TURN), 1), TURNS)
    totals = {name: Window(0.0, 0.0, 0) for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            totals[name] += window(meter, lambda run=run: _repeat(run, device, seconds / turns))  # type: ignore[misc]
    idle = (before + _idle(meter)) / 2
    if idle == 0 and not any(total.joules for total in totals.values()):
        raise MeterStopped(f"{meter.how}: the counter does not move")
    return [_measured(name, total, images, idle) for name, total in totals.items()]


def doubts(runs: list[Measured]) -> list[str]:
    """A sentence for each run whose net energy says little, for the notes of a profile."""
    found = []
    for run in runs:
        gross = run["gross_joules"] / run["images"]
        if run["joules_an_image"] < CERTAIN * gross:
            found.append(
                f"Energy of {run['name']}: {run['joules_an_image']:.3g} J an image remain of {gross:.3g} J when the "
                f"idle power of {run['idle_watts']:.3g} W is subtracted. This is within what that power drifts by."
            )
    return found


@dataclass(frozen=True)
class Window:
    """What a meter counted: joules, the seconds they took, and how often something ran meanwhile."""

    joules: float
    seconds: float
    times: int

    def __add__(self, other: "Window") -> "Window":
        return Window(self.joules + other.joules, self.seconds + other.seconds, self.times + other.times)


def window(meter: Meter, work: Callable[[], int]) -> Window:
    """What a meter counts while something works, which says how often it ran.

    Counters move in steps. The window begins and ends right after one, so that it holds whole steps; at its end at
    most one of them, at idle power, is added to both joules and seconds. A thread keeps reading in between, since
    counters run over and power has to be summed up. Raises MeterStopped where it stops.
    """
    _told(meter.start)
    _settle(meter)
    _told(meter.start)
    begin = perf_counter()
    failed: list[MeterStopped] = []
    done = Event()

    def watch() -> None:
        try:
            while not done.wait(meter.interval):
                _told(meter.read)
        except MeterStopped as error:
            failed.append(error)

    watching = Thread(target=watch, daemon=True)
    watching.start()
    try:
        times = work()
    finally:
        done.set()
        watching.join()
    if failed:
        raise failed[0]
    joules = _settle(meter)
    return Window(joules, perf_counter() - begin, times)


def _settle(meter: Meter) -> float:
    """Joules since the start, as soon as they change, or when they have not for PATIENCE seconds."""
    first = joules = _told(meter.read)
    until = perf_counter() + PATIENCE
    while joules == first and perf_counter() < until:
        sleep(0)
        joules = _told(meter.read)
    return joules


def _told(ask: Callable[[], T]) -> T:
    """What a meter says; its errors are told apart from those of what runs meanwhile."""
    try:
        return ask()
    except OSError as error:
        raise MeterStopped(f"the meter stopped: {error}") from error


def _idle(meter: Meter) -> float:
    """Watts of the machine left alone."""
    sleep(REST)

    def rest() -> int:
        sleep(IDLE)
        return 0

    found = window(meter, rest)
    return found.joules / found.seconds


def _repeat(run: Callable[[], Any], device: torch.device, seconds: float) -> int:
    """Runs until so many seconds have passed; how often."""
    times, until = 0, perf_counter() + seconds
    while times == 0 or perf_counter() < until:
        run()
        wait(device)
        times += 1
    return times


def _measured(name: str, total: Window, images: int, idle: float) -> Measured:
    count = total.times * images
    return {
        "name": name,
        "joules_an_image": (total.joules - idle * total.seconds) / count,
        "gross_joules": total.joules,
        "idle_watts": idle,
        "seconds": total.seconds,
        "images": count,
    }
