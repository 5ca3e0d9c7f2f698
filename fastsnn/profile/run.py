"""The stages of a profile, one after another, and what is left of them where they are interrupted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from fastsnn.profile import dense as denses
from fastsnn.profile.activation import activations
from fastsnn.profile.converted import Converted
from fastsnn.profile.curves import accuracy, modelled
from fastsnn.profile.energy import EnergyModel
from fastsnn.profile.gather import Gathered, step
from fastsnn.profile.layers import layers, totals, work
from fastsnn.profile.machine import machine
from fastsnn.profile.memory import how, peak_bytes
from fastsnn.profile.meters import doubts, measured
from fastsnn.profile.peaks import peaks
from fastsnn.profile.result import Interrupted, Profile
from fastsnn.profile.roofline import roofline
from fastsnn.profile.schema import (
    SCHEMA,
    VERSION,
    Activation,
    Document,
    Layer,
    MeasuredEnergy,
    Memory,
    NotMeasurable,
    Percentiles,
    Roofline,
    Time,
    Timed,
    additions,
    missing,
    moved,
    unavailable,
)
from fastsnn.profile.subject import Subject
from fastsnn.profile.turns import interleaved, percentiles
from fastsnn.spikes import steps_shown

SPIKING = "spiking"
WARM_UP = 2
# rounds of layers, and of runs with fewer steps; images whose activations are compared
LAYER_ROUNDS, STEP_ROUNDS, COMPARED = 5, 5, 64
NOT_YET = "interrupted before it was measured"


@dataclass(frozen=True)
class Settings:
    """How much is measured; see `fastsnn.profile.api.profile`."""

    batch: int | None
    rounds: int
    budget: float
    compile: bool
    models: list[EnergyModel]
    energy_seconds: float
    progress: bool


class Run:
    """One profile in the making. Each stage leaves its result in an attribute; until then that says NOT_YET."""

    def __init__(
        self,
        network: nn.Module,
        networks: Mapping[str, Subject],
        dense: nn.Module | None,
        images: Tensor,
        settings: Settings,
        command: str,
        notes: Sequence[str],
        paths: Sequence[Path],
    ) -> None:
        self.network, self.networks, self.dense, self.settings = network, networks, dense, settings
        self.name, self.main = next(iter(networks.items()))
        self.command, self.paths = command, paths
        self.compared = images[:COMPARED]
        self.images = images if settings.batch is None else images[: settings.batch]
        self.notes = list(notes)
        self.gathered = Gathered()
        self.flops: int | NotMeasurable = unavailable("there is no dense network" if dense is None else NOT_YET)
        self.time: Time | NotMeasurable = unavailable(NOT_YET)
        self.milliseconds: dict[str, float] = {}
        self.dense_calls: dict[str, list[float]] = {}
        self.memory: Memory | NotMeasurable = unavailable(NOT_YET)
        self.joules: MeasuredEnergy | NotMeasurable = unavailable(NOT_YET)
        self.activations: dict[str, Activation | NotMeasurable] = {}
        self.roofline: Roofline | NotMeasurable = unavailable(NOT_YET)

    def all(self, stream: Iterable[tuple[Tensor, Tensor | None]], batches: int | None) -> Profile:
        """Every stage. Raises Interrupted on Ctrl-C, once there is something to keep."""
        stages: list[tuple[str, Callable[[], None]]] = [
            ("counting spikes", partial(self.count, stream, batches)),
            ("timing", self.measure_time),
            ("timing layers", self.measure_layers),
            ("measuring memory", self.measure_memory),
            ("measuring joules", self.measure_joules),
            ("comparing activations", self.compare),
            ("measuring the machine", self.measure_roofline),
        ]
        partial_because = None
        bar = tqdm(stages, desc="profile", unit="stage", disable=not self.settings.progress, leave=False)
        try:
            with ExitStack() as modes:
                for model in (self.dense, self.network):
                    if model is not None:
                        modes.enter_context(denses.evaluated(model))
                for what, stage in bar:
                    bar.set_description(what)
                    stage()
        except KeyboardInterrupt:
            if not self.gathered.images:
                raise
            of = "" if batches is None else f" of {batches}"
            partial_because = f"interrupted while {what}, after {self.gathered.batches}{of} batches"
        finally:
            bar.close()
        result = Profile(self.document(partial_because))
        for path in self.paths:
            result.save(path)
        if partial_because is not None:
            raise Interrupted(result)
        return result

    def count(self, stream: Iterable[tuple[Tensor, Tensor | None]], batches: int | None) -> None:
        """Spikes, operations and right answers, of every network, on all images."""
        shown = tqdm(stream, total=batches, desc="count", unit="batch", disable=not self.settings.progress, leave=False)
        for images, labels in shown:
            self.gathered = step(self.gathered, self.networks, self.dense, images, labels)
        if isinstance(self.main, Converted) and (settling := self.main.snn.reading.settling):
            self.notes.append(
                f"{settling} steps of settling, ahead of the {self.main.T}, are in the times and in no count"
            )
        if not self.gathered.labelled:
            self.notes.append("the data has no labels: accuracy is left out")

    def measure_time(self) -> None:
        """The spiking network and the dense one, eager and compiled, in turn."""
        x, runs, absent = self.images, self.runs(), dict[str, NotMeasurable]()
        if self.dense is not None:
            eager, described = denses.eager(self.dense, x)
            runs[denses.EAGER] = eager
            self.notes.append(f"{denses.EAGER}: {described}")
            self.flops = denses.flops(self.dense, x)
            built = denses.compiled(self.dense, x) if self.settings.compile else unavailable("it was not asked for")
            if missing(built):
                absent[denses.COMPILED] = built
            else:
                runs[denses.COMPILED] = built
        bar = tqdm(
            total=self.settings.rounds, desc="time", unit="round", disable=not self.settings.progress, leave=False
        )
        with bar:
            seconds = interleaved(
                runs, x.device, self.settings.rounds, WARM_UP, self.settings.budget, lambda *_: bar.update()
            )
        taken: dict[str, Percentiles | NotMeasurable] = {n: percentiles(s) for n, s in seconds.items()}
        taken |= absent
        base = taken.get(denses.EAGER)
        self.time = {
            "rounds": len(seconds[SPIKING]),
            "warm_up": WARM_UP,
            "runs": [self._timed(name, found, base) for name, found in taken.items()],
            "by_steps": self._by_steps() if self.main.stepped else [],
        }

    def measure_layers(self) -> None:
        """Each layer by itself, spiking and dense."""
        seconds = self.main.seconds(self.images, LAYER_ROUNDS)
        self.milliseconds = {name: percentiles(found)["p50"] for name, found in seconds.items()}
        if self.dense is not None:
            self.dense_calls = denses.call_milliseconds(self.dense, self.images, LAYER_ROUNDS)

    def measure_memory(self) -> None:
        """The most that a run of each takes."""
        peaks_of: dict[str, int | NotMeasurable] = {}
        for name, run in self.runs().items():
            peaks_of[name] = peak_bytes(run, self.images.device, self.main.forget)
        self.memory = {"how": how(self.images.device), "peak_bytes": peaks_of}

    def measure_joules(self) -> None:
        """Where a counter of the machine tells them."""
        self.joules = measured(self.runs(), len(self.images), self.images.device, self.settings.energy_seconds)
        if not missing(self.joules):
            self.notes += doubts(self.joules["runs"])

    def compare(self) -> None:
        """What the spikes of each layer say against the dense network's activations."""
        if isinstance(self.main, Converted):
            self.activations = activations(self.main.snn, self.dense, self.compared, self.main.T)

    def measure_roofline(self) -> None:
        """Layers that spikes drive against what the machine can do."""
        found = self._layers()
        share = len(self.images) / self.gathered.images
        driven: list[tuple[str, int, int, float | None]] = []
        for layer in found:
            if layer["role"] == "spiking" and layer["milliseconds"]:
                driven.append(
                    (layer["name"], round(additions(layer) * share), moved(layer), layer["milliseconds"] / 1e3)
                )
        if self.main.precision is None:
            self.roofline = unavailable("the precision of a module's own layers is not known")
        elif not driven:
            self.roofline = unavailable("no layer that spikes drive was timed by itself")
        else:
            self.roofline = roofline(peaks(self.images.device, self.main.precision), driven)

    def runs(self) -> dict[str, Callable[[], Any]]:
        """The spiking network on the timed batch, and the dense one as it is."""
        found: dict[str, Callable[[], Any]] = {SPIKING: partial(self.main.run, self.images)}
        if self.dense is not None:
            found[denses.EAGER] = partial(self.dense, self.images)
        return found

    def document(self, partial_because: str | None) -> Document:
        """All that is known."""
        observed, dense = self.gathered.networks[self.name].observed, self.dense
        found = self._layers()
        known = accuracy(self.gathered, self.networks, self.settings.models, dense is not None)
        steps = work(self.main.facts, observed, self.main.T)
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": self.command,
            "partial": partial_because,
            "notes": self.notes,
            "machine": machine(self.images.device),
            "network": {
                "name": self.main.name,
                "source": self.main.source,
                "method": self.main.method,
                "precision": self.main.precision,
                "timesteps": self.main.T,
                "device": str(self.images.device),
                "parameters": self.main.parameters() if dense is None else sum(p.numel() for p in dense.parameters()),
                "dense": None if dense is None else type(dense).__name__,
            },
            "conditions": {
                "images": self.gathered.images,
                "batches": self.gathered.batches,
                "batch": len(self.images),
                "threads": torch.get_num_threads(),
                "labelled": self.gathered.labelled,
            },
            "layers": found,
            "totals": totals(found, self.gathered.images, self.flops),
            "time": self.time,
            "memory": self.memory,
            "energy": {
                "measured": self.joules,
                "modelled": modelled(self.settings.models, steps, self.main.T),
            },
            "accuracy": known,
            "roofline": self.roofline,
        }

    def _layers(self) -> list[Layer]:
        observed = self.gathered.networks[self.name].observed
        batch = len(self.images)
        return layers(self.main, observed, batch, self.milliseconds, self.dense_calls, self.activations)

    def _timed(self, name: str, found: Percentiles | NotMeasurable, base: Percentiles | NotMeasurable | None) -> Timed:
        if missing(found):
            return {"name": name, "milliseconds": found, "images_a_second": None, "ratio": None}
        ratio = None if base is None or missing(base) else found["p50"] / base["p50"]
        return {
            "name": name,
            "milliseconds": found,
            "images_a_second": 1e3 * len(self.images) / found["p50"],
            "ratio": ratio,
        }

    def _by_steps(self) -> list[tuple[int, float]]:
        """Median milliseconds of runs of 1, 2, 4, ... T steps, those that the network can run."""
        steps = [t for t in steps_shown(self.main.T) if t >= self.main.least]
        runs = {str(t): partial(self.main.run, self.images, t) for t in steps}
        seconds = interleaved(runs, self.images.device, STEP_ROUNDS, 1, self.settings.budget)
        return [(t, percentiles(seconds[str(t)])["p50"]) for t in steps]
