"""if_constant on the CPU, in C++."""

from typing import cast

from torch import Tensor

from fastsnn.ops import _neurons


def if_constant(
    current: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, T: int, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    return cast(tuple[Tensor, Tensor], _neurons.run(current, True, v, threshold, bias, T, reset, comparator))
