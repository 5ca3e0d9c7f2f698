"""if_constant in CUDA."""

from typing import cast

from torch import Tensor

from fastsnn.ops import _neurons_cuda


def if_constant(
    current: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, T: int, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    run = _neurons_cuda.run(current, True, v, threshold, bias, T, reset, comparator)
    return cast(tuple[Tensor, Tensor], run)
