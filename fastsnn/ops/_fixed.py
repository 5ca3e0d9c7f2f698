"""A dense fixed-point convolution or linear map in the native module: what a layer reads of the image, once a run."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.ops import _three

LANES = 16
# inputs of a product of matrices, and how many there may be for sums of two digits' products, 2 x 255 x 128 at most,
# to stay within 32 bits
DEPTH, MOST_INPUTS = 64, 2**15


class FixedConvolution:
    """(sum of weight * x, scaled down by 2^shift, halves up) + bias, saturated at +-(2^30 - 1): exact.

    shape       of the result without the batch, [*S', O]
    weight      [O, C / groups, *kernel] int32
    bias        int32, spreads over `shape`
    digits      whether it is products of 8-bit digits in matrices; None: where the processor has registers of them
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
        digits: bool | None = None,
    ) -> None:
        outputs, per_group, *kernel = weight.shape
        self.shape, self.groups, self.shift = tuple(shape), groups, shift
        self._geometry = _three.geometry(kernel, stride, padding, dilation)
        taps = weight.reshape(outputs, per_group, -1).unflatten(0, (groups, outputs // groups)).permute(0, 3, 2, 1)
        inputs = taps.shape[1] * per_group
        if digits is None:
            digits = _native.load().tiles() == "hardware" and inputs >= DEPTH
        self._weight = _digits(taps[0]) if digits and groups == 1 and inputs <= MOST_INPUTS else _lanes(taps)
        self._planes = self._weight.shape[1] if self._weight.dtype == torch.int8 else 0
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
            self._planes,
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


def _lanes(taps: Tensor) -> Tensor:
    """Of taps [groups, taps, channels, outputs]: [groups, blocks, taps, channels, 8, 2], n beside n + 8 of a block."""
    if taps.shape[2:] == (1, 1):
        # lanes are channels, which the native module expects of as many groups
        taps = taps.permute(3, 1, 2, 0)
    return _padded(taps, LANES).unflatten(-1, (-1, 2, LANES // 2)).permute(0, 3, 1, 2, 5, 4).contiguous()


def _digits(taps: Tensor) -> Tensor:
    """Of taps [taps, channels, outputs]: int8 [blocks, planes, tiles, 16, outputs, 4], the lowest digits first."""
    rest = _padded(_padded(taps.flatten(0, 1), LANES).T, DEPTH).T.long()
    planes: list[Tensor] = []
    while not planes or rest.any():
        planes.append(((rest + 128) & 255) - 128)
        rest = (rest - planes[-1]) >> 8
    tiles = torch.stack(planes).unflatten(2, (-1, LANES)).unflatten(1, (-1, DEPTH // 4, 4))
    return tiles.permute(4, 0, 1, 2, 5, 3).to(torch.int8).contiguous()


def _padded(x: Tensor, multiple: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, -x.shape[-1] % multiple))
