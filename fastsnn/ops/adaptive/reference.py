"""The definition of adaptive_steps, in plain torch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn.neurons import Adaptive
from fastsnn.ops._series import exp, log1p
from fastsnn.ops._step import bias_at
from fastsnn.spikes import word_dtype

UNITS = Adaptive.units
PLANES = UNITS.bit_length()


def adaptive_steps(
    currents: Tensor, v: Tensor, bias: Tensor | None, T: int, numbers: Sequence[float], first: int
) -> tuple[Tensor, Tensor]:
    shape = currents.shape[1:]
    v, total = v if first else (v.expand(shape), v.new_zeros(shape))
    shifts = torch.arange(PLANES - 1, -1, -1, device=v.device).reshape(-1, *[1] * len(shape))
    words = torch.zeros((PLANES, *shape), dtype=torch.int64, device=v.device)
    for t in range(T):
        current, step = currents[t if len(currents) > 1 else 0] + bias_at(bias, t, len(shape)), first + t
        level = threshold(v - total * (1 / step), current, numbers) if step else torch.full_like(v, UNITS)
        v = v + current
        emitted = torch.where(v >= level, level, 0)
        v = v - emitted
        total = total + v
        words |= ((emitted.to(torch.int64) >> shifts) & 1) << t
    return words.to(word_dtype(T)), torch.stack([v, total])


def threshold(above: Tensor, current: Tensor, numbers: Sequence[float]) -> Tensor:
    """The thresholds of a step after the first: whole numbers 1..255 as floating ones, in units of theta / 256.

    above  potentials after the step before, less their means over the steps so far
    """
    a, ka, ki, c, tau_mp, tau_rd = scaled(numbers)
    held = above * ki
    soft = held.clamp(min=0) + log1p(exp(-held.abs()))
    follows = ((above * a - 1) + soft * ka) * tau_mp
    evoked = exp(current * c) * tau_rd
    return (UNITS / (exp(-(follows + evoked)) + 1)).round().clamp(1, UNITS - 1)


def scaled(numbers: Sequence[float]) -> tuple[float, ...]:
    """The numbers of a neuron as factors of what is in units of theta / 256."""
    a, ka, ki, c, tau_mp, tau_rd = numbers
    return a / UNITS, ka, 1 / (UNITS * ki), -1 / (UNITS * c), tau_mp, tau_rd
