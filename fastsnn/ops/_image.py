"""Images as fixed-point numbers in the native module, as an exact first layer reads them."""

from math import prod

import torch
from torch import Tensor

from fastsnn import _native


def image(x: Tensor, exponent: int) -> Tensor:
    """x [B, C, *S] float32 or float64 times 2^exponent: int32 [B, *S, C], as `program.fixed.fixed_input` rounds it."""
    x = x.contiguous()
    batch, channels, *sizes = x.shape
    result = torch.empty((batch, *sizes, channels), dtype=torch.int32)
    _native.load().image(
        x.data_ptr(),
        x.dtype == torch.float64,
        2.0**exponent,
        batch,
        channels,
        prod(sizes),
        result.data_ptr(),
        torch.get_num_threads(),
    )
    return result
