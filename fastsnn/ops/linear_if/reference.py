"""The definition of linear_if, in plain torch."""

import torch
from torch import Tensor

from fastsnn.ops._step import integrate, spikes_at


def linear_if(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    reset: str,
    comparator: str,
) -> tuple[Tensor, Tensor]:
    # float64 holds every sum of fewer than 2^22 int32 weights exactly, whatever its order
    real = v.dtype if v.is_floating_point() else torch.float64
    weights = [w.to(real) for w in weights]
    shape = torch.Size((words[0].shape[0], weights[0].shape[0]))

    def current_at(t: int) -> Tensor:
        total = torch.zeros(shape, dtype=real, device=words[0].device)
        for w, weight in zip(words, weights, strict=True):
            total += spikes_at(w, t).to(real) @ weight.T
        return total

    return integrate(current_at, T, shape, v, threshold, bias, reset, comparator)
