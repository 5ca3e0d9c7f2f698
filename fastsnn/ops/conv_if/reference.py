"""The definition of conv_if, in plain torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, conv3d

from fastsnn.ops._step import integrate, spikes_at

CONVOLUTIONS = {1: conv1d, 2: conv2d, 3: conv3d}


@contextmanager
def full_precision() -> Iterator[None]:
    """cuDNN without TF32, which is torch's default for float32 convolutions."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def convolve(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """torch's convolution [N, *S, C] -> [N, *S', O] in the full precision of its dtype: on a GPU not in TF32."""
    run = CONVOLUTIONS[weight.ndim - 2]
    full = full_precision() if x.is_cuda else nullcontext()
    with full:
        out = run(x.movedim(-1, 1), weight, None, stride, padding, dilation, groups)
    return out.movedim(1, -1)


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
    dims = words[0].ndim - 2
    # float64 holds every sum of fewer than 2^22 int32 weights exactly, whatever its order
    real = v.dtype if v.is_floating_point() else torch.float64
    weights = [w.to(real) for w in weights]

    def current_at(t: int) -> Tensor:
        total = torch.zeros(shape, dtype=real, device=words[0].device)
        for i, (w, weight) in enumerate(zip(words, weights, strict=True)):
            part = slice(i * dims, (i + 1) * dims)
            spikes = spikes_at(w, t).to(real)
            total += convolve(spikes, weight, stride[part], padding[part], dilation[part], groups[i])
        return total

    return integrate(current_at, T, torch.Size(shape), v, threshold, bias, reset, comparator)
