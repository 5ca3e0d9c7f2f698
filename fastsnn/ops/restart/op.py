"""restart: where neurons have to start to fire one spike more, or less, as a first run shows that they were off."""

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.ops import _checks
from fastsnn.ops._step import as_values

VALUES = (torch.float32, torch.float64, torch.int32)

BACKENDS = (
    Backend("triton", "fastsnn.ops.restart.triton_kernel:restart", _triton.refuse, _triton.reason),
    Backend("cuda", "fastsnn.ops.restart.cuda:restart", _cuda.refuse, _cuda.reason),
    Backend("native", "fastsnn.ops.restart.native:restart", _native.refuse, _native.reason),
    Backend("reference", "fastsnn.ops.restart.reference:restart", lambda *_: None),
)


def restart(
    words: list[Tensor], v: list[Tensor], threshold: float | Tensor = 1.0, start: float | Tensor = 0.0
) -> Tensor:
    """V(0) of a second run of neurons, soft reset, that have been run for some steps one by one.

    A neuron that fired and ended below 0 fired once too often: it starts lower by as much as keeps the weakest of its
    spikes from happening. One that ended at the threshold or above fired once too little: it starts higher by as much
    as makes the step that came closest a spike. With v the last potentials:

        v < 0:           V(0) = start - max(threshold, (least potential that fired) - 0.999 threshold)
        v >= threshold:  V(0) = start + max(threshold, 1.001 threshold - (largest potential that did not))

    words       1 to 32 of [*N], one dtype: of each step, whose bit 0 is the spike
    v           as many [*N] float32, float64 or int32 (fixed point): potentials after each step
    threshold, start
                > 0, and where the first run started: numbers or tensors that spread over *N from the right

    Returns V(0) [*N] in the dtype of v, computed in float64; in fixed point rounded to the nearest, ties to even, and
    within +-2^30. Raises ValueError for shape or device, TypeError for dtype.
    Source: Hao et al., ICLR 2023 (COS).
    """
    if not v:
        raise ValueError("restart: needs the words and potentials of 1 to 32 steps, got none")
    return _restart(words, v, as_values(threshold, v[0]), as_values(start, v[0]))


def _check(words: list[Tensor], v: list[Tensor], threshold: Tensor, start: Tensor) -> None:
    if not 1 <= len(v) <= 32 or len(words) != len(v):
        raise ValueError(
            f"restart: needs the words and potentials of 1 to 32 steps, got {len(words)} words, {len(v)} potentials"
        )
    if v[0].dtype not in VALUES:
        raise TypeError(f"restart: v must be float32, float64 or int32 (fixed point), got {v[0].dtype}")
    shape, device = tuple(words[0].shape), words[0].device
    for name, tensors, dtype in (("words", words, words[0].dtype), ("v", v, v[0].dtype)):
        for t, x in enumerate(tensors):
            _checks.same("restart", f"{name}[{t}]", x, dtype, device)
            if tuple(x.shape) != shape:
                raise ValueError(f"restart: {name}[{t}] must have the shape of words[0] {shape}, got {tuple(x.shape)}")
    _checks.words("restart", words[0], 1)
    for name, x in (("threshold", threshold), ("start", start)):
        _checks.same("restart", name, x, v[0].dtype, device)
        _checks.spreads("restart", name, x, shape, "the neurons [*N] =")


# spelt out, because torch 2.6 cannot read list[...] annotations
@torch.library.custom_op(
    "fastsnn::restart", mutates_args=(), schema="(Tensor[] words, Tensor[] v, Tensor threshold, Tensor start) -> Tensor"
)
def _restart(words: list[Tensor], v: list[Tensor], threshold: Tensor, start: Tensor) -> Tensor:
    _check(words, v, threshold, start)
    given = [[x.contiguous() for x in tensors] for tensors in (words, v)]
    return choose("restart", BACKENDS, words[0])(*given, threshold, start)


@_restart.register_fake
def _(words, v, threshold, start):
    _check(words, v, threshold, start)
    return v[0].new_empty(v[0].shape)
