"""if_steps: integrate-and-fire neurons over T steps, from a current for each step."""

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.neurons import Neuron, code_of
from fastsnn.ops import _checks
from fastsnn.ops._step import as_values

BACKENDS = (
    Backend("triton", "fastsnn.ops.if_steps.triton_kernel:if_steps", _triton.refuse, _triton.reason),
    Backend("cuda", "fastsnn.ops.if_steps.cuda:if_steps", _cuda.refuse, _cuda.reason),
    Backend("native", "fastsnn.ops.if_steps.native:if_steps", _native.refuse, _native.reason),
    Backend("reference", "fastsnn.ops.if_steps.reference:if_steps", lambda *_: None),
)


def if_steps(
    currents: Tensor,
    threshold: float | Tensor = 1.0,
    v: float | Tensor = 0.0,
    *,
    bias: Tensor | None = None,
    reset: str = "soft",
    comparator: str = ">=",
    neuron: Neuron | None = None,
) -> tuple[Tensor, Tensor]:
    """Integrate-and-fire over T steps, from a current for each.

        V += currents[t] + bias[t];   s[t] = V >= threshold;   V -= s[t] * threshold (soft), V = 0 where s[t] (hard)

    currents    [T, *N] float32, float64, int32 or int16 (fixed point); T in 1..32
    threshold   > 0, number or tensor that spreads over *N from the right: [] one, [C] per channel, [H, W, C] per neuron
    v           membrane potential before step 0, same forms; theta/2 is OPI's
    bias        added at every step; spreads over [T, *N] from the right: [C], or [T, 1, ..., C] for a bias per step
    reset       "soft" or "hard";  comparator ">=" or ">"
    neuron      other rules, in place of the two: `fastsnn.neurons.IF` with a leak, or `Graded`. v may then also be what
                a call before has returned

    Returns (words [*N]: bit t is the spike at step t;  v [*N] after the last step). Of a neuron with several planes the
    words are [planes, *N]; of one that counts what it emits, v is potentials and counts [2, *N].
    Raises ValueError for shape or device, TypeError for dtype. No gradient: backward raises.
    Source: Bu et al., AAAI 2022 (soft reset IF, V(0) = theta/2). Fixed point saturates, see `fastsnn.ops._step`.
    """
    rules = code_of(neuron, reset, comparator)
    return _if_steps(currents, as_values(v, currents), as_values(threshold, currents), bias, *rules)


def _check(currents: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, reset: str, comparator: str) -> None:
    if currents.ndim < 1:
        raise ValueError("if_steps: currents must be [T, *N], got a scalar")
    T, *shape = currents.shape
    _checks.neuron("if_steps", T, tuple(shape), currents.dtype, currents.device, v, threshold, bias, reset, comparator)


@torch.library.custom_op("fastsnn::if_steps", mutates_args=())
def _if_steps(
    currents: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    _check(currents, v, threshold, bias, reset, comparator)
    return choose("if_steps", BACKENDS, currents)(currents.contiguous(), v, threshold, bias, reset, comparator)


@_if_steps.register_fake
def _(
    currents: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, reset: str, comparator: str
) -> tuple[Tensor, Tensor]:
    _check(currents, v, threshold, bias, reset, comparator)
    return _checks.results(currents, currents.dtype, currents.shape[1:], currents.shape[0], reset)
