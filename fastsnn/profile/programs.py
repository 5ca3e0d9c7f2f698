"""What a program's words say, chunk by chunk: how often its neurons fired, and the additions that this caused."""

from collections.abc import Iterable

import torch
from torch import Tensor

from fastsnn.convert.report import Row
from fastsnn.profile.counts import Counts, Observed, count
from fastsnn.profile.layout import Facts, layout, roots
from fastsnn.profile.raster import Rows
from fastsnn.profile.schema import Bytes
from fastsnn.profile.traffic import traffic
from fastsnn.program import NeuronLayer, Program
from fastsnn.spikes import chunk_lengths

# steps, and what a network gives of them
Chunk = tuple[int, dict[str, Tensor], list[Tensor]]


class Counted:
    """A network that runs as one program over T steps: its layers, and what is counted of them.

    stepped   whether `run` takes fewer steps, and the output is known after each
    stepwise  whether what is behind the last neurons runs at each step, not once on the mean over them
    facts     the layers, in order
    rows      once an image was seen: some neurons of each layer, with their spikes
    recorded  the layers whose words have to be seen
    """

    stepped, stepwise = True, False

    def __init__(self, program: Program, rows: Iterable[Row], T: int, device: torch.device) -> None:
        self.program, self.T, self.device = program, T, device
        self.least = program.shortest_run
        self.facts: list[Facts] = layout(program, rows, T, self.stepwise)
        self.rows: dict[str, Rows] = {}
        self.recorded = roots(self.facts, program)
        self._readers: dict[str, list[tuple[str, int, Tensor]]] = {name: [] for name in self.recorded}
        for facts in self.facts:
            for i, reach in enumerate(facts.reaches):
                self._readers[reach.root].append((facts.name, i, reach.fan_out.to(device)))
        self._neurons = {name for name in self.recorded if isinstance(program.layers[name], NeuronLayer)}

    def counted(self, images: int, chunks: Iterable[Chunk]) -> tuple[Observed, Tensor]:
        """Of one run on so many images: what was counted, and its first output, [T, B, ...]."""
        layers = self.program.layers
        counts: dict[str, Counts] = {}
        additions = {f.name: torch.zeros(len(f.reaches), self.T, dtype=torch.int64) for f in self.facts}
        rows = {} if self.rows else {name: Rows.of(layers[name].shape) for name in self._neurons}
        parts, start = [], 0
        for T, words, outputs in chunks:
            for name, found in words.items():
                readers = self._readers[name]
                several = len(layers[name].amplitudes) > 1
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
        return Observed(images, counts, additions), torch.cat(parts)

    def moved(self, batch: int) -> dict[str, Bytes]:
        """Bytes of one pass over a batch, by layer."""
        return traffic(self.program, chunk_lengths(self.T), batch, self.stepwise)

    def parameters(self) -> int:
        """Numbers among weights and biases of the program."""
        return sum(facts.weights for facts in self.facts)
