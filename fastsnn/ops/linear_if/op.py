"""linear_if: linear maps of packed spikes, summed, and the neurons they feed, over all T steps in one call."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.neurons import Neuron, code_of
from fastsnn.ops import _checks
from fastsnn.ops._step import as_values, value_dtype

BACKENDS = (
    Backend("triton", "fastsnn.ops.linear_if.triton_kernel:linear_if", _triton.refuse_layer, _triton.reason),
    Backend("cuda", "fastsnn.ops.linear_if.cuda:linear_if", _cuda.refuse, _cuda.reason),
    Backend("native", "fastsnn.ops.linear_if.native:linear_if", _native.refuse, _native.reason),
    Backend("reference", "fastsnn.ops.linear_if.reference:linear_if", lambda *_: None),
)


def linear_if(
    words: Sequence[Tensor],
    weights: Sequence[Tensor],
    T: int,
    threshold: float | Tensor = 1.0,
    v: float | Tensor = 0.0,
    *,
    bias: Tensor | None = None,
    reset: str = "soft",
    comparator: str = ">=",
    neuron: Neuron | None = None,
) -> tuple[Tensor, Tensor]:
    """Linear maps of spikes, summed over several inputs, and IF neurons over T steps.

        I[t] = sum over i of weights[i] @ (words[i] at t) + bias[t];   then as `if_steps`

    words       list of [B, K_i], T in 1..32 bits used
    weights     list of [O, K_i] float32, float64, int32 or int16 (fixed point), or in fewer bits than the other
                values: float16, bfloat16 (those are float32), int8 (int32)
    threshold, v, bias, reset, comparator, neuron
                as in `if_steps`, for neurons [B, O]

    Returns (words [B, O], v [B, O]). Raises ValueError for shape or device, TypeError for dtype.
    """
    if not words or not weights:
        raise ValueError(f"linear_if: needs at least one input, got {len(words)} words and {len(weights)} weights")
    v, threshold = as_values(v, weights[0]), as_values(threshold, weights[0])
    return _linear_if(list(words), list(weights), v, threshold, bias, T, *code_of(neuron, reset, comparator))


def _check(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    reset: str,
    comparator: str,
) -> tuple[int, ...]:
    _checks.terms("linear_if", words, weights, T)
    for i, (w, weight) in enumerate(zip(words, weights, strict=True)):
        if w.ndim != 2 or weight.ndim != 2 or weight.shape != (weights[0].shape[0], w.shape[1]):
            raise ValueError(
                f"linear_if: words[{i}] must be [B, K] and weights[{i}] [O, K] with one O for all inputs, "
                f"got {tuple(w.shape)} and {tuple(weight.shape)}"
            )
    shape = (words[0].shape[0], weights[0].shape[0])
    _checks.neuron(
        "linear_if", T, shape, value_dtype(weights[0].dtype), words[0].device, v, threshold, bias, reset, comparator
    )
    return shape


# spelt out, because torch 2.6 cannot read list[...] annotations
SCHEMA = (
    "(Tensor[] words, Tensor[] weights, Tensor v, Tensor threshold, Tensor? bias, int T, str reset, str comparator)"
    " -> (Tensor, Tensor)"
)


@torch.library.custom_op("fastsnn::linear_if", mutates_args=(), schema=SCHEMA)
def _linear_if(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    reset: str,
    comparator: str,
) -> tuple[Tensor, Tensor]:
    _check(words, weights, v, threshold, bias, T, reset, comparator)
    run = choose("linear_if", BACKENDS, words[0], weights[0])
    words, weights = [w.contiguous() for w in words], [w.contiguous() for w in weights]
    return run(words, weights, v, threshold, bias, T, reset, comparator)


@_linear_if.register_fake
def _(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    reset: str,
    comparator: str,
) -> tuple[Tensor, Tensor]:
    shape = _check(words, weights, v, threshold, bias, T, reset, comparator)
    return _checks.results(words[0], v.dtype, shape, T, reset)
