"""Sums of numbers of each step in the native module, element by element."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.ops._repeated import repeated


class Totals:
    """weight * x of each term, scaled down by 2^shift, halves up; other numbers and a bias: saturated at +-(2^30 - 1).

    shape    of an element's neighbours without those in front, [*S, C]
    weights  int32 of each term, spread over `shape`
    shifts   of each term
    bias     int32, spreads over `shape`
    """

    def __init__(self, shape: Sequence[int], weights: Sequence[Tensor], shifts: Sequence[int], bias: Tensor) -> None:
        self._weights = [repeated(weight, torch.Size(shape)) for weight in weights]
        self._shifts, self._bias = list(shifts), repeated(bias, torch.Size(shape))

    def __call__(
        self,
        inputs: Sequence[Tensor],
        others: Sequence[Tensor],
        narrow: Tensor | None,
        biased: bool,
        out: Tensor,
        last: bool = False,
    ) -> Tensor:
        """Writes out [N, *S, C] int32, contiguous, and returns it.

        inputs  [N, *S, C] int32 of each term, contiguous
        others  [N, *S, C] int64, contiguous: added as they are
        narrow  the same in int32
        biased  whether the bias is added
        last    whether sums saturate before that as well, as the currents of neurons do
        """
        terms = zip(inputs, self._weights, self._shifts, strict=True)
        _native.load().totals(
            [(x.data_ptr(), weight.data_ptr(), weight.numel(), shift) for x, weight, shift in terms],
            [other.data_ptr() for other in others],
            0 if narrow is None else narrow.data_ptr(),
            self._bias.data_ptr() if biased else 0,
            self._bias.numel(),
            last,
            out.numel(),
            out.data_ptr(),
            torch.get_num_threads(),
        )
        return out
