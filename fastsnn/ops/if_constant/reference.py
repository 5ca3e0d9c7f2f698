"""The definition of if_constant, in plain torch."""

from torch import Tensor

from fastsnn.ops._step import integrate


def if_constant(
    current: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, T: int, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    return integrate(lambda t: current, T, current.shape, v, threshold, bias, reset, comparator)
