"""The rules of neurons that are more than integrate-and-fire, as the native module takes them."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.firing import QUARTERS, Firing
from fastsnn.ops._step import LIMIT, count_unit


@lru_cache(maxsize=256)
def native(firing: Firing, T: int, dtype: torch.dtype) -> Any:
    """Of T steps of neurons whose values have a dtype; None for plain ones."""
    if firing.plain:
        return None
    levels = [plane.level for plane in firing.planes]
    flags = (firing.single, firing.below, firing.counted, firing.differential)
    gains, fixed = firing.gains(T) or (), firing.fixed_gains(T) or ()
    rule = _native.load().Rule
    return rule(firing.amplitudes, levels, *flags, count_unit(dtype), gains, fixed, firing.caps(T) or ())


def least(firing: Firing, threshold: Tensor) -> float:
    """The least threshold of whole numbers; below 0 also where 32 bits are too few for what neurons emit at once."""
    if threshold.is_floating_point() or not threshold.numel():
        return 0.0
    low, high = (float(x) for x in threshold.aminmax())
    most = max(max(abs(plane.amplitude), plane.level / QUARTERS) for plane in firing.planes)
    return -1.0 if most > 1 and most * high >= LIMIT else low
