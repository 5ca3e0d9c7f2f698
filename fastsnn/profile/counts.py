"""How spikes are counted: at each step, of each neuron, and the additions that they cause. All exact integers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastsnn.ops._step import spikes_at


@dataclass(frozen=True)
class Reach:
    """What the spikes of one source reach in a layer.

    kind      see `schema.Operations`
    source    the layer that is read
    root      the neurons, or the max pool, whose spikes these are: `source` but for routes in between
    fan_out   int64 [*S, C] of the root: connections that start at each element
    """

    kind: str
    source: str
    root: str
    fan_out: Tensor


@dataclass(frozen=True)
class Counts:
    """What was counted of one layer's neurons over some images.

    spikes       int64 [T], of all of them
    fired        int64 [*S, C]: spikes of each over images and steps
    """

    spikes: Tensor
    fired: Tensor

    def plus(self, other: "Counts") -> "Counts":
        """Over the images of both."""
        return Counts(self.spikes + other.spikes, self.fired + other.fired)

    def then(self, later: "Counts") -> "Counts":
        """Of the same images, with the steps of the other behind."""
        return Counts(torch.cat([self.spikes, later.spikes]), self.fired + later.fired)


def count(words: Tensor, T: int, fan_outs: Sequence[Tensor] = ()) -> tuple[Counts, Tensor]:
    """Of words [B, *S, C] of T steps: the counts, and the additions int64 [len(fan_outs), T] that the spikes cause.

    fan_outs   int64 [*S, C] each, on the device of the words
    """
    fired = torch.zeros(words.shape[1:], dtype=torch.int64, device=words.device)
    spikes = fired.new_zeros(T)
    additions = fired.new_zeros(len(fan_outs), T)
    for t in range(T):
        now = spikes_at(words, t).sum(0, dtype=torch.int64)
        fired += now
        spikes[t] = now.sum()
        for i, fan_out in enumerate(fan_outs):
            additions[i, t] = (now * fan_out).sum()
    return Counts(spikes.cpu(), fired.cpu()), additions.cpu()


@dataclass(frozen=True)
class Observed:
    """What was counted over some images.

    counts      by layer that has neurons
    additions   by layer: int64 [reaches, T], in the order of its reaches
    """

    images: int
    counts: dict[str, Counts]
    additions: dict[str, Tensor]

    def plus(self, other: "Observed") -> "Observed":
        """Over the images of both."""
        counts = {name: found.plus(other.counts[name]) for name, found in self.counts.items()}
        additions = {name: found + other.additions[name] for name, found in self.additions.items()}
        return Observed(self.images + other.images, counts, additions)
