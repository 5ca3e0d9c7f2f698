"""if_steps on the CPU, in C++."""

from torch import Tensor

from fastsnn.ops import _neurons


def if_steps(
    currents: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    out, after = _neurons.run(currents, False, v, threshold, bias, currents.shape[0], reset, comparator)
    assert after is not None
    return out, after
