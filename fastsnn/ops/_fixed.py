"""A dense fixed-point convolution or linear map in the native module: what a layer reads of the image, once a run."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.ops import _three

LANES = 16


class FixedConvolution:
    """(sum of weight * x, scaled down by 2^shift, halves up) + bias, saturated at +-(2^30 - 1): exact.

    shape       of the result without the batch, [*S', O]
    weight      [O, C / groups, *kernel] int32
    bias        int32, spreads over `shape`
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
        self._geometry = _three.geometry(kernel, stride, padding, dilation)
        taps = weight.reshape(outputs, per_group, -1).unflatten(0, (groups, outputs // groups)).permute(0, 3, 2, 1)
        if groups == outputs and per_group == 1:
            # lanes are channels, which the native module expects of as many groups
            taps = taps.permute(3, 1, 2, 0)
        lanes = -(-taps.shape[3] // LANES) * LANES
        padded = torch.zeros((*taps.shape[:3], lanes), dtype=torch.int32)
        padded[..., : taps.shape[3]] = taps
        # [groups, blocks, taps, channels of a group, 8, 2]: output n of a block lies beside output n + 8
        self._weight = padded.unflatten(-1, (-1, 2, LANES // 2)).permute(0, 3, 1, 2, 5, 4).contiguous()
        positional = any(n > 1 for n in bias.shape[:-1])
        self._bias = (bias.expand(self.shape) if positional else bias.flatten()).contiguous()
        self._bias_steps = (outputs, 1) if positional else (0, int(self._bias.numel() > 1))

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """x [B, *S, C] int32, |x| <= 2^30, contiguous: writes out [B, *S', O] int32, contiguous, and returns it."""
        return self._run(x, out, out.data_ptr(), 0)

    def scaled(self, x: Tensor) -> Tensor:
        """Of x [B, *S, C] of whole numbers, |x| <= 2^30, the sums alone, scaled down: [B, *S', O] int64."""
        out = torch.empty((x.shape[0], *self.shape), dtype=torch.int64)
        return self._run(x.to(torch.int32).contiguous(), out, 0, out.data_ptr())

    def _run(self, x: Tensor, out: Tensor, result: int, sums: int) -> Tensor:
        batch, *sizes, channels = x.shape
        _native.load().fixed(
            x.data_ptr(),
            self._weight.data_ptr(),
            batch,
            _three.sizes(sizes),
            channels,
            _three.sizes(self.shape[:-1]),
            self.shape[-1],
            self.groups,
            *self._geometry,
            self.shift,
            self._bias.data_ptr(),
            *self._bias_steps,
            result,
            sums,
            torch.get_num_threads(),
        )
        return out
