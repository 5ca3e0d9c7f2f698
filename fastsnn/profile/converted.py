"""How a converted network is observed: its spikes, what they cause, and its outputs after each step, in one pass."""

from typing import Any

import torch
from torch import Tensor

from fastsnn.network import SpikingNetwork
from fastsnn.profile.counts import Counts, Observed, count
from fastsnn.profile.layout import Facts, layout, roots
from fastsnn.profile.raster import Rows
from fastsnn.profile.schema import Bytes
from fastsnn.profile.traffic import traffic
from fastsnn.program import NeuronLayer
from fastsnn.spikes import chunk_lengths


class Converted:
    """A converted network over T steps, as the profile sees it; see `fastsnn.profile.subject.Subject`."""

    source, stepped = "converted", True

    def __init__(self, snn: SpikingNetwork, T: int) -> None:
        self.snn, self.T, self.least = snn, T, snn.program.shortest_run
        self.facts: list[Facts] = layout(snn, T)
        self.device = snn.device
        self.precision: str | None = snn.precision
        self.name = snn.report.title.split(" -> ")[0]
        self.method: str | None = str(snn.method)
        self.rows: dict[str, Rows] = {}
        layers = snn.program.layers
        self._roots = roots(self.facts, snn.program)
        self._readers: dict[str, list[tuple[str, int, Tensor]]] = {name: [] for name in self._roots}
        for facts in self.facts:
            for i, reach in enumerate(facts.reaches):
                self._readers[reach.root].append((facts.name, i, reach.fan_out.to(self.device)))
        self._neurons = {name for name in self._roots if isinstance(layers[name], NeuronLayer)}
        self._layers = layers

    def observe(self, x: Tensor) -> tuple[Observed, Tensor | None]:
        """Runs images x [B, C, *S]: what was counted, and the first output after each step, [T, B, ...]."""
        counts: dict[str, Counts] = {}
        additions = {f.name: torch.zeros(len(f.reaches), self.T, dtype=torch.int64) for f in self.facts}
        rows = {} if self.rows else {name: Rows.of(self._layers[name].shape) for name in self._neurons}
        parts, start = [], 0
        for T, words, outputs in self.snn.chunks(x, self.T, record=self._roots, over_time=True):
            for name, found in words.items():
                readers = self._readers[name]
                several = len(self._layers[name].amplitudes) > 1
                # spikes of all planes count, as those of so many images
                counted = found.flatten(0, 1) if several else found
                now, caused = count(counted, T, [fan_out for *_, fan_out in readers])
                for (layer, i, _), by_step in zip(readers, caused, strict=True):
                    additions[layer][i, start : start + T] = by_step
                if name in self._neurons:
                    counts[name] = counts[name].then(now) if name in counts else now
                if name in rows:
                    rows[name].add(found[:, 0] if several else found[:1], T)
            parts.append(outputs[0])
            start += T
        self.rows = self.rows or rows
        return Observed(len(x), counts, additions), torch.cat(parts)

    def run(self, x: Tensor, T: int | None = None) -> Any:
        """One run as users do it."""
        return self.snn(x, T or self.T)

    def seconds(self, x: Tensor, rounds: int) -> dict[str, list[float]]:
        """Of each layer that is timed by itself, in each round."""
        return self.snn.layer_seconds(x, self.T, rounds)

    def moved(self, batch: int) -> dict[str, Bytes]:
        """Bytes of one pass over a batch, by layer."""
        return traffic(self.snn.program, chunk_lengths(self.T), batch)

    def parameters(self) -> int:
        """Numbers among weights and biases as they are after conversion."""
        return sum(facts.weights for facts in self.facts)

    def forget(self) -> None:
        """Lets go of memory that is kept for the next run."""
        self.snn.forget()
