"""if_steps in CUDA."""

from typing import cast

from torch import Tensor

from fastsnn.ops import _neurons_cuda


def if_steps(
    currents: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    run = _neurons_cuda.run(currents, False, v, threshold, bias, currents.shape[0], reset, comparator)
    return cast(tuple[Tensor, Tensor], run)
