"""The networks of a comparison, one after another, and what is left of them where that is interrupted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from math import sqrt
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from fastsnn.comparison.candidates import Candidate
from fastsnn.comparison.data import labelled
from fastsnn.comparison.latency import input_steps
from fastsnn.comparison.result import Comparison, Interrupted
from fastsnn.comparison.schema import SCHEMA, VERSION, Conditions, Dense, Row
from fastsnn.convert.api import convert
from fastsnn.errors import FastSNNError
from fastsnn.profile import dense as denses
from fastsnn.profile.converted import Converted
from fastsnn.profile.curves import accuracy
from fastsnn.profile.gather import Gathered, step
from fastsnn.profile.machine import machine
from fastsnn.profile.schema import Percentiles, missing
from fastsnn.profile.turns import interleaved, percentiles, wait

DENSE = "dense"
# rounds of the timed batch, and seconds after which no further one begins
ROUNDS, WARM_UP, BUDGET = 7, 2, 2.0


@dataclass(frozen=True)
class Task:
    """What is compared, and on what.

    loader       batches (images, labels), read once for each network
    images       the timed batch
    calibration  the images of every conversion
    """

    model: nn.Module
    loader: Any
    images: Tensor
    calibration: Any
    candidates: Sequence[Candidate]
    timesteps: Sequence[int]
    conditions: Conditions
    progress: bool


class Run:
    """One comparison in the making."""

    def __init__(self, task: Task, command: str, notes: Sequence[str], paths: Sequence[Path]) -> None:
        self.task, self.command, self.notes, self.paths = task, command, list(notes), paths
        self.rows: list[Row] = []
        self.dense: Dense | None = None
        self.dense_run: Callable[[], Any] = partial(task.model, task.images)
        self.dense_seconds: list[float] = []
        # all methods at the least T first: what an interruption leaves can be compared
        self.jobs = [(candidate, T) for T in task.timesteps for candidate in task.candidates]
        self.doing = ""
        self.bar = tqdm(
            total=1 + len(self.jobs), desc="compare", unit="network", disable=not task.progress, leave=False
        )

    def all(self) -> Comparison:
        """Every row. Raises Interrupted on Ctrl-C, once one is finished; what is finished is saved in any case."""
        because = None
        try:
            with denses.evaluated(self.task.model), self.bar:
                self.dense = self.measured_dense()
                for candidate, T in self.jobs:
                    self.rows.append(self.row(candidate, T))
                    self.bar.update()
        except KeyboardInterrupt:
            if not self.rows:
                raise
            because = self._stopped("interrupted")
        except Exception as error:
            if self.rows:
                self._saved(self._stopped(f"stopped by {type(error).__name__}: {error},"))
            raise
        result = self._saved(because)
        if because is not None:
            raise Interrupted(result)
        return result

    def measured_dense(self) -> Dense:
        """The network as it is; its pass also looks at all labels and images before anything is converted."""
        model, images = self.task.model, self.task.images
        self._now("evaluating the dense network")
        gathered = self._pass({}, model)
        self._now("timing the dense network")
        self.dense_run, how = denses.eager(model, images)
        taken = self._milliseconds({DENSE: self.dense_run})[DENSE]
        self.bar.update()
        fraction = gathered.dense_correct / gathered.images
        self.task.conditions["images"] = gathered.images
        return {
            "name": type(model).__name__,
            "accuracy": fraction,
            "standard_error": sqrt(fraction * (1 - fraction) / gathered.images),
            "images": gathered.images,
            "milliseconds": taken["p50"],
            "milliseconds_p20": taken["p20"],
            "milliseconds_p80": taken["p80"],
            "how": how,
            "parameters": sum(p.numel() for p in model.parameters()),
            "multiplications": None,
        }

    def row(self, candidate: Candidate, T: int) -> Row:
        """One method at one T, or why it has no result; what was known before it failed is kept."""
        row: Row = {
            "label": candidate.label,
            "method": candidate.name,
            "settings": candidate.settings,
            "timesteps": T,
            "failed": None,
            "accuracy": None,
            "standard_error": None,
            "images": 0,
            "input_steps": None,
            "latency": candidate.card.latency,
            "causal": candidate.card.causal,
            "bits": candidate.card.bits,
            "spikes": None,
            "additions": None,
            "milliseconds": None,
            "milliseconds_p20": None,
            "milliseconds_p80": None,
            "seconds": None,
        }
        try:
            self._fill(row, candidate, T)
        except (FastSNNError, ValueError) as error:
            row["failed"] = " ".join(str(error).split()) or type(error).__name__
        return row

    def _fill(self, row: Row, candidate: Candidate, T: int) -> None:
        task, given = self.task, self.task.conditions
        self._now(f"converting by {candidate.label} for T = {T}")
        begin = perf_counter()
        snn = convert(
            task.model,
            task.calibration,
            method=candidate.make(),
            timesteps=T,
            max_pool=given["max_pool"],
            precision=given["precision"],
        )
        wait(task.images.device)
        row["seconds"] = perf_counter() - begin
        row["input_steps"] = input_steps(candidate.card.latency, T, len(snn.program.neurons))
        network = Converted(snn, T)
        self._multiplications(network)

        self._now(f"counting spikes of {candidate.label} at T = {T}")
        gathered = self._pass({candidate.label: network}, None)
        found = accuracy(gathered, {candidate.label: network}, [], dense=False)
        if missing(found):
            raise ValueError(found["not_measurable"])
        curve = found["curves"][0]
        row["accuracy"], row["standard_error"] = curve["accuracy"][-1], curve["standard_error"]
        row["images"], row["spikes"], row["additions"] = gathered.images, curve["spikes"][-1], curve["operations"][-1]

        self._now(f"timing {candidate.label} at T = {T}")
        taken = self._milliseconds({"": partial(network.run, task.images), DENSE: self.dense_run})
        of = taken[""]
        row["milliseconds_p20"], row["milliseconds"], row["milliseconds_p80"] = of["p20"], of["p50"], of["p80"]
        if self.dense:
            of = taken[DENSE]
            self.dense |= {"milliseconds": of["p50"], "milliseconds_p20": of["p20"], "milliseconds_p80": of["p80"]}

    def _pass(self, networks: Mapping[str, Converted], dense: nn.Module | None) -> Gathered:
        """Over all images. Raises TypeError where they are not as many as the dense network was given."""
        loader, gathered = self.task.loader, Gathered()
        total = len(loader) if hasattr(loader, "__len__") else None
        stream = labelled(loader, self.task.images.device)
        bar = tqdm(stream, total=total, desc="count", unit="batch", disable=not self.task.progress, leave=False)
        for images, labels in bar:
            gathered = step(gathered, networks, dense, images, labels)
        before = self.dense["images"] if self.dense else gathered.images
        if gathered.images != before or not before:
            raise TypeError(
                f"compare_methods reads the loader once for each network, and it gave {before} images at first, "
                f"{gathered.images} later; give one that can be read again"
            )
        return gathered

    def _milliseconds(self, runs: Mapping[str, Callable[[], Any]]) -> dict[str, Percentiles]:
        """Of one image, the runs in turn; the dense network's over all rounds so far, whatever else the machine did."""
        images = self.task.images
        seconds = interleaved(runs, images.device, ROUNDS, WARM_UP, BUDGET)
        self.dense_seconds += seconds[DENSE]
        seconds[DENSE] = self.dense_seconds
        return {name: percentiles([each / len(images) for each in found]) for name, found in seconds.items()}

    def _multiplications(self, network: Converted) -> None:
        if self.dense and self.dense["multiplications"] is None:
            self.dense["multiplications"] = sum(facts.dense_macs for facts in network.facts)

    def _now(self, doing: str) -> None:
        self.doing = doing
        self.bar.set_description(doing)

    def _stopped(self, how: str) -> str:
        return f"{how} while {self.doing}, after {len(self.rows)} of {len(self.jobs)} rows"

    def _saved(self, because: str | None) -> Comparison:
        """All that is known, written to the files that were asked for."""
        if self.dense is None:
            raise ValueError("there is no comparison before the dense network was measured")
        result = Comparison(
            {
                "schema": SCHEMA,
                "version": VERSION,
                "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "command": self.command,
                "partial": because,
                "notes": self.notes,
                "machine": machine(self.task.images.device),
                "conditions": self.task.conditions,
                "labels": [candidate.label for candidate in self.task.candidates],
                "timesteps": list(self.task.timesteps),
                "dense": self.dense,
                "rows": self.rows,
            }
        )
        for path in self.paths:
            result.save(path)
        return result
