"""Initial membrane potentials V(0), in units of the threshold, by the names users give them."""

from collections.abc import Callable

import torch
from torch import Tensor

NAMES = "a number (0.5 is theta/2), uniform, gaussian, or measured"
GRID = tuple(i / 20 for i in range(21))
GAUSSIAN_SPREAD = 0.25
# thresholds that V(0) may be away from 0
LARGEST = 16


def check(spec: float | str) -> float | str:
    """The specification, a number where it is one. Raises ValueError for anything unknown."""
    if isinstance(spec, str) and spec in ("uniform", "gaussian", "measured"):
        return spec
    try:
        number = float(spec)
    except (TypeError, ValueError):
        raise ValueError(f"initial_potential must be {NAMES}, got {spec!r}") from None
    if not abs(number) <= LARGEST:
        raise ValueError(f"initial_potential must be within {LARGEST} thresholds of 0, got {number}")
    return number


def potential(
    spec: float | str, shape: tuple[int, ...], generator: torch.Generator, error: Callable[[float], float]
) -> Tensor | float:
    """V(0) for neurons of `shape`: one number, or one a neuron for the random kinds.

    uniform    U(0, 1): unbiased as 1/2 is, with twice its mean squared error (Bu et al., AAAI 2022)
    gaussian   N(1/2, 1/4)
    measured   of 0, 0.05, ... 1 the one with the least error on the calibration images
    """
    if spec == "uniform":
        return torch.rand(shape, generator=generator, dtype=torch.float64)
    if spec == "gaussian":
        return 0.5 + GAUSSIAN_SPREAD * torch.randn(shape, generator=generator, dtype=torch.float64)
    if spec == "measured":
        return min(GRID, key=error)
    return float(spec)
