"""The definition of if_steps, in plain torch."""

from torch import Tensor

from fastsnn.ops._step import integrate


def if_steps(
    currents: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    return integrate(currents.__getitem__, currents.shape[0], currents.shape[1:], v, threshold, bias, reset, comparator)
