"""if_steps on the CPU, in C++."""

from typing import cast

from torch import Tensor

from fastsnn.ops import _neurons


def if_steps(
    currents: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    return cast(
        tuple[Tensor, Tensor], _neurons.run(currents, False, v, threshold, bias, currents.shape[0], reset, comparator)
    )
