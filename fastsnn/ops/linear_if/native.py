"""linear_if on the CPU, in C++: the convolution of a single position."""

from typing import cast

from torch import Tensor

from fastsnn.ops._plan import Plan


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
    shape, ones = (words[0].shape[0], weights[0].shape[0]), [1] * len(words)
    plan = Plan([w.shape[1:] for w in words], weights, shape, threshold, v, bias, [], [], [], ones, reset, comparator)
    return cast(tuple[Tensor, Tensor], plan(words, T))
