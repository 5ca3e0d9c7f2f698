"""Thresholds from activations: the rules that any method can use, by the names users give them."""

from collections.abc import Callable

import torch
from torch import Tensor

from fastsnn.convert.statistics import BINS, Activation

Rule = Callable[[Activation, int], Tensor]
NAMES = "max, percentile:P with 0 < P <= 100, mse, or bound"


def parse(spec: str) -> Rule:
    """The rule of a name such as "percentile:99.9": (activation, T) -> thresholds [C]."""
    kind, _, number = str(spec).partition(":")
    if kind in ("max", "bound") and not number:
        return lambda activation, T: activation.largest
    if kind == "mse" and not number:
        return least_squares
    if kind == "percentile":
        try:
            percent = float(number)
        except ValueError:
            percent = 0.0
        if 0 < percent <= 100:
            return lambda activation, T: activation.percentile(percent)
    raise ValueError(f"threshold must be {NAMES}, got {spec!r}")


def least_squares(activation: Activation, T: int, candidates: int = 100) -> Tensor:
    """The threshold whose T-step IF neuron is nearest to the ReLU, in the mean square over the activations seen.

        minimise over theta  E[(a - theta / T * clip(floor(a * T / theta + 1/2), 0, T))^2]

    searched over `candidates` fractions of the largest activation. The 1/2 is V(0) = theta/2.
    Source: Li et al., ICML 2021 (SNNC), with the shift as an initial potential.
    """
    counts, values = activation.counts, activation.centres().double()
    width = torch.where(activation.top > 0, activation.top, 1.0).double() / BINS
    count, total, squares = _from_each(counts), _from_each(counts * values), (counts * values**2).sum(1)
    # the k-th spike comes from theta / T (k - 1/2) on, and the square of their number grows by 2 k - 1 with it
    spikes = torch.arange(1, T + 1, device=values.device)
    best = activation.largest.clone()
    least = torch.full_like(squares, torch.inf)
    for i in range(candidates):
        theta = activation.largest * (1 - i / candidates)
        step = theta.double() / T
        first = ((step / width)[:, None] * (spikes - 0.5) - 0.5).ceil_().clamp_(0, BINS).long()
        squared, mixed = ((2 * spikes - 1) * count.gather(1, first)).sum(1), total.gather(1, first).sum(1)
        error = squares + step * (step * squared - 2 * mixed)
        better = error < least
        least, best = torch.where(better, error, least), torch.where(better, theta, best)
    return best


def _from_each(x: Tensor) -> Tensor:
    """[C, n] -> [C, n + 1]: the sum from each number on, and 0 behind the last."""
    return torch.nn.functional.pad(x.flip(1).cumsum(1).flip(1), (0, 1))


def positive(theta: Tensor, largest: Tensor) -> Tensor:
    """Thresholds that neurons can have, for channels whose rule gave (nearly) nothing; `largest` is each one's maximum.

    A threshold of zero has no meaning, and one below 1/1024 of the layer's largest makes every current of its channel
    enormous. Such a channel gets its own largest activation, or the layer's largest threshold if that is as small.
    """
    top = theta.max() if theta.max() > 0 else largest.max()
    if not top > 0:
        return torch.ones_like(theta)
    least = top / 1024
    return torch.where(theta >= least, theta, torch.where(largest >= least, largest, top))
