"""Which neurons of a layer a spike raster shows, and when they fired."""

from math import prod

import torch
from torch import Tensor

from fastsnn.ops._step import spikes_at
from fastsnn.profile.schema import Raster
from fastsnn.windows import Shape

# of one layer; more cannot be told apart in a picture
MOST = 64


class Rows:
    """Some neurons of a layer, evenly spaced, and their spikes on one image."""

    def __init__(self, neurons: Tensor) -> None:
        self.neurons = neurons
        self._steps: list[list[int]] = [[] for _ in neurons]
        self._done = 0

    @classmethod
    def of(cls, shape: Shape) -> "Rows":
        size = prod(shape)
        return cls(torch.arange(min(MOST, size)) * size // min(MOST, size))

    def add(self, words: Tensor, T: int) -> None:
        """T more steps of one image: words [planes, *S, C]; a neuron fires where any of its planes does."""
        shown = words.flatten(1)[:, self.neurons.to(words.device)].cpu()
        for t in range(T):
            for row, fired in zip(self._steps, spikes_at(shown, t).any(0).tolist(), strict=True):
                if fired:
                    row.append(self._done + t)
        self._done += T

    def raster(self) -> Raster:
        return {"neurons": self.neurons.tolist(), "steps": self._steps}
