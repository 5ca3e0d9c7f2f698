"""conv_if on the CPU, in C++: spikes are looked up as lists, and only they cost work."""

from typing import cast

from torch import Tensor

from fastsnn.ops._plan import Plan


def conv_if(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: list[int],
    reset: str,
    comparator: str,
    shape: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    inputs = [w.shape[1:] for w in words]
    neurons = (threshold, v, bias)
    plan = Plan(inputs, weights, shape, *neurons, stride, padding, dilation, groups, reset, comparator)
    return cast(tuple[Tensor, Tensor], plan(words, T))
