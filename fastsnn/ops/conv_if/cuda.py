"""conv_if on NVIDIA GPUs, in CUDA: only spikes cost work, sums and neurons are in registers, words go in and out."""

from typing import cast

from torch import Tensor

from fastsnn.ops._layer_cuda import CudaPlan


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
    plan = CudaPlan(
        inputs, weights, shape, *neurons, stride, padding, dilation, groups, reset, comparator, proven=False
    )
    return cast(tuple[Tensor, Tensor], plan(words, T))
