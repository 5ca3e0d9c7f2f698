"""Exponentials and what is made of them, in sums, products and quotients alone, each rounded for itself.

Those of mathematical libraries differ in their last bits, and thresholds and numbers in fixed point with them.
"""

from collections.abc import Sequence
from math import factorial

import torch
from torch import Tensor

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
