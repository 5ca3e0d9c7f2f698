"""linear_if on NVIDIA GPUs, in CUDA: the convolution of a single position."""

from typing import cast

from torch import Tensor

from fastsnn.ops._layer_cuda import CudaPlan


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
    inputs = [w.shape[1:] for w in words]
    plan = CudaPlan(inputs, weights, shape, threshold, v, bias, [], [], [], ones, reset, comparator, proven=False)
    return cast(tuple[Tensor, Tensor], plan(words, T))
