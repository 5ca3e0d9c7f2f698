"""adaptive_steps: neurons with adaptive thresholds (MSAT) over T steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.neurons import Adaptive
from fastsnn.ops import _checks
from fastsnn.ops._step import as_values
from fastsnn.spikes import word_dtype

VALUES = (torch.float32, torch.float64)
PLANES = Adaptive.units.bit_length()

BACKENDS = (
    Backend("triton", "fastsnn.ops.adaptive.triton_kernel:adaptive_steps", _triton.refuse, _triton.reason),
    Backend("cuda", "fastsnn.ops.adaptive.cuda:adaptive_steps", _cuda.refuse, _cuda.reason),
    Backend("native", "fastsnn.ops.adaptive.native:adaptive_steps", _native.refuse, _native.reason),
    Backend("reference", "fastsnn.ops.adaptive.reference:adaptive_steps", lambda *_: None),
)


def adaptive_steps(
    currents: Tensor,
    T: int,
    v: float | Tensor,
    neuron: Adaptive,
    *,
    bias: Tensor | None = None,
    first: int = 0,
) -> tuple[Tensor, Tensor]:
    """Neurons whose threshold follows their potential and their current over T steps, see `fastsnn.neurons.Adaptive`.

    currents  [T, *N] float32 or float64, T in 1..32, or [1, *N], the same at every step; in units of theta / 256, as
              all numbers here
    v         where first is 0 the potentials before the first step, number or tensor that spreads over *N from the
              right; otherwise the state that the steps before left
    bias      added at every step; spreads over [T, *N] from the right
    first     steps of the run before these

    Returns (words [9, *N], of amplitudes 256, 128, .. 1; state [2, *N]: potentials after the last step, and the sums of
    the potentials after each step of the run). The same on every backend to the last bit.
    Raises ValueError for shape or device, TypeError for dtype. No gradient: backward raises.
    Source: He et al., 2023 (MSAT), see `fastsnn.methods.msat`.
    """
    numbers = [neuron.a, neuron.ka, neuron.ki, neuron.c, neuron.tau_mp, neuron.tau_rd]
    return _adaptive_steps(currents, as_values(v, currents), bias, T, numbers, first)


def _check(
    currents: Tensor, v: Tensor, bias: Tensor | None, T: int, numbers: Sequence[float], first: int
) -> tuple[int, ...]:
    """The neurons' shape."""
    _checks.steps("adaptive_steps", T)
    if currents.dtype not in VALUES:
        raise TypeError(f"adaptive_steps: currents must be float32 or float64, got {currents.dtype}")
    if currents.ndim < 1 or currents.shape[0] not in (1, T):
        raise ValueError(
            f"adaptive_steps: currents must be [T, *N] or [1, *N] with T = {T}, got {tuple(currents.shape)}"
        )
    shape = tuple(currents.shape[1:])
    _checks.same("adaptive_steps", "v", v, currents.dtype, currents.device)
    if first < 0:
        raise ValueError(f"adaptive_steps: first is how many steps were run before, got {first}")
    if first == 0:
        _checks.spreads("adaptive_steps", "v", v, shape, "the neurons [*N] =")
    elif tuple(v.shape) != (2, *shape):
        raise ValueError(
            f"adaptive_steps: v must be the state [2, *N] = {(2, *shape)} that the steps before left, "
            f"got {tuple(v.shape)}"
        )
    if bias is not None:
        _checks.same("adaptive_steps", "bias", bias, currents.dtype, currents.device)
        _checks.spreads("adaptive_steps", "bias", bias, (T, *shape), "[T, *N] =")
    if len(numbers) != 6:
        raise ValueError(f"adaptive_steps: a neuron has six numbers, got {len(numbers)}")
    return shape


@torch.library.custom_op("fastsnn::adaptive_steps", mutates_args=())
def _adaptive_steps(
    currents: Tensor, v: Tensor, bias: Tensor | None, T: int, numbers: Sequence[float], first: int
) -> tuple[Tensor, Tensor]:
    _check(currents, v, bias, T, numbers, first)
    run = choose("adaptive_steps", BACKENDS, currents)
    return run(currents.contiguous(), v.contiguous(), bias, T, numbers, first)


@_adaptive_steps.register_fake
def _(
    currents: Tensor, v: Tensor, bias: Tensor | None, T: int, numbers: Sequence[float], first: int
) -> tuple[Tensor, Tensor]:
    shape = _check(currents, v, bias, T, numbers, first)
    return currents.new_empty((PLANES, *shape), dtype=word_dtype(T)), currents.new_empty((2, *shape))
