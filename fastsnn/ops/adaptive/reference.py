"""The definition of adaptive_steps, in plain torch.

Exponentials and logarithms are written out here in sums, products and quotients, each rounded for itself: those of
mathematical libraries differ in their last bits, and thresholds with them.
"""

from collections.abc import Sequence
from math import factorial

import torch
from torch import Tensor

from fastsnn.neurons import Adaptive
from fastsnn.ops._step import bias_at
from fastsnn.spikes import word_dtype

UNITS = Adaptive.units
PLANES = UNITS.bit_length()
# what an exponent is cut off at, either way, so that float32 holds its exponential
MOST_EXPONENT = 80.0
# log(2) in two parts, of which multiples up to MOST_EXPONENT of the first are exact
LOG2E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.693359375, -2.121944400546906e-4
# of the Taylor series whose rest is below half a unit in the last place: of exp up to log(2) / 2, and of
# log((1 + s) / (1 - s)) / 2s in s^2 up to 1 / 9
EXP = {torch.float32: 8, torch.float64: 14}
LOG = {torch.float32: 7, torch.float64: 16}
# bits of the fraction, and what the exponent of 1 is stored as
FORMAT = {torch.float32: (torch.int32, 23, 127), torch.float64: (torch.int64, 52, 1023)}


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


def exp(x: Tensor) -> Tensor:
    """2^n times the exponential of what is left of x."""
    whole, fraction, one = FORMAT[x.dtype]
    x = x.clamp(-MOST_EXPONENT, MOST_EXPONENT)
    n = (x * LOG2E).round()
    rest = (x - n * LN2_HIGH) - n * LN2_LOW
    return series(rest, exp_factors(x.dtype)) * ((n.to(whole) + one) << fraction).view(x.dtype)


def log1p(x: Tensor) -> Tensor:
    """log(1 + x) of numbers 0..1: 2 artanh(x / (2 + x))."""
    s = x / (x + 2)
    return series(s * s, log_factors(x.dtype)) * (s + s)


def series(x: Tensor, factors: Sequence[float]) -> Tensor:
    """factors[0] + factors[1] x + factors[2] x^2 + ..., from the last on."""
    found = torch.full_like(x, factors[-1])
    for factor in reversed(factors[:-1]):
        found = found * x + factor
    return found


def exp_factors(dtype: torch.dtype) -> tuple[float, ...]:
    return tuple(1 / factorial(k) for k in range(EXP[dtype]))


def log_factors(dtype: torch.dtype) -> tuple[float, ...]:
    return tuple(1 / (2 * k + 1) for k in range(LOG[dtype]))
