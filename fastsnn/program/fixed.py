"""Fixed-point numbers: where they saturate, and how an image becomes one."""

import torch
from torch import Tensor

from fastsnn.ops._step import LIMIT


def saturated(values: Tensor) -> Tensor:
    """Fixed-point numbers kept within +-(2^30 - 1); floating ones as they are."""
    return values if values.is_floating_point() else values.clamp(1 - LIMIT, LIMIT - 1)


def held(sums: Tensor, dtype: torch.dtype) -> Tensor:
    """Whole sums as numbers of a layer: saturated ones of 32 bits, or of 16, which wrap; floating ones as they are."""
    if sums.is_floating_point():
        return sums
    return (saturated(sums) if dtype == torch.int32 else sums).to(dtype)


def summable(values: Tensor) -> Tensor:
    """Numbers of a layer such that those of many steps can be added up; floating ones as they are."""
    return values if values.is_floating_point() else values.to(torch.int64)


def fixed_input(x: Tensor, exponent: int) -> Tensor:
    """An image times 2^exponent: int64, saturated; infinities as well, and NaN is 0."""
    return saturated((x.double() * 2.0**exponent).nan_to_num(0.0).round().clamp(-LIMIT, LIMIT).to(torch.int64))
