"""emit: spikes of neurons that know all of their input: as many as it allows, in order or at random."""

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.ops import _checks
from fastsnn.ops._step import as_values

KINDS = ("ordered", "random")
VALUES = (torch.float32, torch.float64, torch.int32)

BACKENDS = (
    Backend("triton", "fastsnn.ops.emit.triton_kernel:emit", _triton.refuse, _triton.reason),
    Backend("cuda", "fastsnn.ops.emit.cuda:emit", _cuda.refuse, _cuda.reason),
    Backend("native", "fastsnn.ops.emit.native:emit", _native.refuse, _native.reason),
    Backend("reference", "fastsnn.ops.emit.reference:emit", lambda *_: None),
)


def emit(
    words: Tensor, v: Tensor, T: int, threshold: float | Tensor = 1.0, *, kind: str = "ordered", seed: int = 0
) -> Tensor:
    """Spikes over T steps of neurons that have been run step by step first, with soft reset, which loses no charge:

        V(0) + sum of all currents = v + spikes * threshold = total

    words       [*N], T in 1..32 bits used: what the first run emitted
    v           [*N] float32, float64 or int32 (fixed point): its potentials after the last step
    threshold   > 0, number or tensor that spreads over *N from the right, as in `if_steps`
    kind        "ordered": clip(floor(total / threshold), 0, T) spikes, all of them first
                "random": drawn, step by step, with the probability that would use up what is left of the total,
                p[t] = clip(total / (threshold (T - t)), 0, 1), t from 0 on; total -= s[t] threshold
    seed        of random spikes. Their numbers are a hash of seed, neuron and step: the same batch gives the same
                spikes on any device

    Returns words [*N], in their dtype. Exact: a quotient is rounded down as if it had all of its digits; numbers of
    random spikes are those of 64-bit divisions. Raises ValueError for shape or device, TypeError for dtype.
    Source: Hao et al., ICML 2025 (ordered: parallel conversion); Bojkovic, Wu, Gu, ICML 2025 (random: TPP; the formula
    as recalled, not from the paper).
    """
    return _emit(words, v, as_values(threshold, v), T, kind, seed)


def _check(words: Tensor, v: Tensor, threshold: Tensor, T: int, kind: str) -> None:
    _checks.words("emit", words, T)
    if v.dtype not in VALUES:
        raise TypeError(f"emit: v must be float32, float64 or int32 (fixed point), got {v.dtype}")
    _checks.same("emit", "v", v, v.dtype, words.device)
    if v.shape != words.shape:
        raise ValueError(f"emit: v must have the shape of words {tuple(words.shape)}, got {tuple(v.shape)}")
    _checks.same("emit", "threshold", threshold, v.dtype, words.device)
    _checks.spreads("emit", "threshold", threshold, tuple(words.shape), "the neurons [*N] =")
    if kind not in KINDS:
        raise ValueError(f"emit: kind must be one of {KINDS}, got {kind!r}")


@torch.library.custom_op("fastsnn::emit", mutates_args=())
def _emit(words: Tensor, v: Tensor, threshold: Tensor, T: int, kind: str, seed: int) -> Tensor:
    _check(words, v, threshold, T, kind)
    return choose("emit", BACKENDS, words)(words.contiguous(), v.contiguous(), threshold, T, kind, seed)


@_emit.register_fake
def _(words: Tensor, v: Tensor, threshold: Tensor, T: int, kind: str, seed: int) -> Tensor:
    _check(words, v, threshold, T, kind)
    return words.new_empty(words.shape)
