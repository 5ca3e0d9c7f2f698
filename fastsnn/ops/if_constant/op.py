"""if_constant: integrate-and-fire neurons over T steps, from one current that all steps share."""

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.neurons import Neuron, code_of
from fastsnn.ops import _checks
from fastsnn.ops._step import as_values

BACKENDS = (
    Backend("triton", "fastsnn.ops.if_constant.triton_kernel:if_constant", _triton.refuse, _triton.reason),
    Backend("cuda", "fastsnn.ops.if_constant.cuda:if_constant", _cuda.refuse, _cuda.reason),
    Backend("native", "fastsnn.ops.if_constant.native:if_constant", _native.refuse, _native.reason),
    Backend("reference", "fastsnn.ops.if_constant.reference:if_constant", lambda *_: None),
)


def if_constant(
    current: Tensor,
    T: int,
    threshold: float | Tensor = 1.0,
    v: float | Tensor = 0.0,
    *,
    bias: Tensor | None = None,
    reset: str = "soft",
    comparator: str = ">=",
    neuron: Neuron | None = None,
) -> tuple[Tensor, Tensor]:
    """Integrate-and-fire over T steps of one constant current: the first layer of a network fed with an image.

    current     [*N] float32, float64, int32 or int16 (fixed point), the same at every step
    T           1..32

    Everything else, the result and the errors are those of `if_steps` with `current` repeated T times.
    Source: Bu et al., AAAI 2022 (direct coding).
    """
    rules = code_of(neuron, reset, comparator)
    return _if_constant(current, as_values(v, current), as_values(threshold, current), bias, T, *rules)


def _check(
    current: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, T: int, reset: str, comparator: str
) -> None:
    _checks.neuron(
        "if_constant", T, tuple(current.shape), current.dtype, current.device, v, threshold, bias, reset, comparator
    )


@torch.library.custom_op("fastsnn::if_constant", mutates_args=())
def _if_constant(
    current: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, T: int, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    _check(current, v, threshold, bias, T, reset, comparator)
    return choose("if_constant", BACKENDS, current)(current.contiguous(), v, threshold, bias, T, reset, comparator)


@_if_constant.register_fake
def _(
    current: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, T: int, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    _check(current, v, threshold, bias, T, reset, comparator)
    return _checks.results(current, current.dtype, current.shape, T, reset)
