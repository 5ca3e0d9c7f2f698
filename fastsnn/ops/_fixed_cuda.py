"""The exact first layer in CUDA: 32-bit numbers multiplied and summed in 64 bits."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from fastsnn import _cuda
from fastsnn.ops import _three
from fastsnn.ops._repeated import repeated

KERNEL = _cuda.Kernel("fixed/fixed.cu", "fixed", "FixedCall", "<10q18i")


class FixedConvolution:
    """The native module's of the same name, in CUDA: (sum of weight * x, scaled down by 2^shift, halves up) + bias.

    shape, weight, bias, shift, stride, padding, dilation, groups
                as there; the result saturates at +-(2^30 - 1) and is exact
    """

    def __init__(
        self,
        shape: Sequence[int],
        weight: Tensor,
        bias: Tensor,
        shift: int,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> None:
        outputs, per_group, *kernel = weight.shape
        self.shape, self.groups, self.shift = tuple(shape), groups, shift
        self._windows = [n for numbers in _three.geometry(kernel, stride, padding, dilation) for n in numbers]
        self._weight = weight.reshape(outputs, per_group, -1).permute(2, 1, 0).contiguous()
        self._bias = repeated(bias, torch.Size(shape))

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """x [B, *S, C] int32, |x| <= 2^30, contiguous: writes out [B, *S', O] int32, contiguous, and returns it."""
        batch, *sizes, channels = x.shape
        if not out.numel():
            return out
        values = (
            *map(_cuda.address, (x, self._weight, self._bias, out)),
            *(batch, channels, self.shape[-1], self.groups, self.shift, max(self._bias.numel(), 1)),
            *(*_three.sizes(sizes), *_three.sizes(self.shape[:-1]), *self._windows),
        )
        _cuda.launch(KERNEL, (_cuda.blocks(batch * prod(self.shape), KERNEL.threads),), values, x)
        return out
