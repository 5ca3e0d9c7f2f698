"""What neurons emit, as numbers: planes of words put together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn.neurons import Neuron
from fastsnn.ops._step import spikes_at


def emitted(words: Tensor, amplitudes: Sequence[int], t: int) -> Tensor:
    """What neurons emit at step t, in thresholds: int64 [*N], from words [*N], or [planes, *N] of several planes."""
    planes = words if len(amplitudes) > 1 else words[None]
    found = spikes_at(planes[0], t).to(torch.int64)
    if amplitudes[0] != 1:
        found *= amplitudes[0]
    for plane, amplitude in zip(planes[1:], amplitudes[1:], strict=True):
        found += spikes_at(plane, t).to(torch.int64) * amplitude
    return found


def output(words: Tensor, neuron: Neuron, T: int, first: int = 0) -> Tensor:
    """What T steps add to the sum that the mean output is, float64 [*N]; it is divided by `neuron.steps_of` a run.

    first   steps of the run before these
    """
    weights = [1 / (first + t + 1) if neuron.differential else 1.0 for t in range(T)]
    amplitudes = neuron.firing.amplitudes
    return torch.stack([emitted(words, amplitudes, t).double() * weight for t, weight in enumerate(weights)]).sum(0)
