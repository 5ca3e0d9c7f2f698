"""if_constant on the CPU, in C++."""

from torch import Tensor

from fastsnn.ops import _neurons


def if_constant(
    current: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, T: int, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    out, after = _neurons.run(current, True, v, threshold, bias, T, reset, comparator)
    assert after is not None
    return out, after
