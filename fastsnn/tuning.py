"""How long each layer of a network takes on given images, and which way to run it is the fastest."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from fastsnn.clock import Clock, clock
from fastsnn.drive import Choice
from fastsnn.engine import Simulation
from fastsnn.prepared import Prepared
from fastsnn.program import Program
from fastsnn.spikes import chunk_lengths


@dataclass(frozen=True)
class Tuned:
    """The way each layer is to run, where it is not the usual one; and in words what was fastest, with its time."""

    choices: dict[str, Choice]
    measured: dict[str, str]


def tuned(program: Program, prepared: Prepared, x: Tensor, T: int, rounds: int, progress: bool) -> Tuned:
    """Tries every way to run each layer for one chunk of steps; see `SpikingNetwork.tune`."""
    drivers = prepared.drivers
    T = min(T, Simulation(program, x, prepared).longest_chunk())
    choices = {name: driver.choices(len(x), T) for name, driver in drivers.items()}
    times: dict[str, dict[Choice, float]] = {name: {} for name in drivers}
    timer, repeats = clock(x.device, rounds)
    ways = max(map(len, choices.values()), default=0)
    for i in tqdm(range(ways), desc="tune", unit="way", disable=not progress or not x.is_cuda):
        trial = {name: options[min(i, len(options) - 1)] for name, options in choices.items()}
        tried = Prepared(program, trial)
        for _ in range(repeats):
            took = _seconds(program, tried, x, [T], timer)
            for name, choice in trial.items():
                times[name][choice] = min(times[name].get(choice, took[name]), took[name])
    best = {name: min(found, key=found.__getitem__) for name, found in times.items()}
    taken = {name: drivers[name].remember(found, len(x), T) for name, found in times.items()}
    measured = {
        name: f"{driver.label}: {1e3 * times[name][best[name]]:.3g} ms"
        for name, driver in Prepared(program, best).drivers.items()
    }
    return Tuned({name: choice for name, choice in taken.items() if choice is not None}, measured)


def timed(program: Program, prepared: Prepared, x: Tensor, T: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each layer that runs over time, see `repeated`."""
    lengths = chunk_lengths(T, Simulation(program, x, prepared).longest_chunk())
    return repeated(lambda timer: _seconds(program, prepared, x, lengths, timer), x.device, rounds)


def repeated(run: Callable[[Clock], dict[str, float]], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """The seconds by layer that `run` gives, in each round; on a GPU one number, the least of the rounds."""
    timer, repeats = clock(device, rounds)
    # the first of several may compile, or pack weights
    runs = [run(timer) for _ in range(repeats)][-rounds:]
    return {name: [seconds[name] for seconds in runs] for name in runs[0]} if runs else {}


def _seconds(program: Program, prepared: Prepared, x: Tensor, lengths: list[int], timer: Clock) -> dict[str, float]:
    """Of each layer in one run over chunks of these lengths."""
    simulation = Simulation(program, x, prepared)
    simulation.clock = timer
    total: dict[str, float] = {}
    for i, T in enumerate(lengths):
        simulation.advance(T, last=i == len(lengths) - 1)
        for name, seconds in simulation.seconds.items():
            total[name] = total.get(name, 0.0) + seconds
    return total
