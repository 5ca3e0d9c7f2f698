"""conv_if: convolutions of packed spikes, summed, and the neurons they feed, over all T steps in one call."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.neurons import Neuron, code_of
from fastsnn.ops import _checks
from fastsnn.ops._step import as_values, value_dtype

BACKENDS = (
    Backend("triton", "fastsnn.ops.conv_if.triton_kernel:conv_if", _triton.refuse_layer, _triton.reason),
    Backend("cuda", "fastsnn.ops.conv_if.cuda:conv_if", _cuda.refuse, _cuda.reason),
    Backend("native", "fastsnn.ops.conv_if.native:conv_if", _native.refuse, _native.reason),
    Backend("reference", "fastsnn.ops.conv_if.reference:conv_if", lambda *_: None),
)


def conv_if(
    words: Sequence[Tensor],
    weights: Sequence[Tensor],
    T: int,
    threshold: float | Tensor = 1.0,
    v: float | Tensor = 0.0,
    *,
    stride: Sequence[int] | None = None,
    padding: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    bias: Tensor | None = None,
    reset: str = "soft",
    comparator: str = ">=",
    neuron: Neuron | None = None,
) -> tuple[Tensor, Tensor]:
    """Convolutions of spikes, summed over several inputs, and IF neurons over T steps.

        I[t] = sum over i of conv(words[i] at t, weights[i]) + bias[t];   then as `if_steps`

    words       list of [B, *S_i, C_i] (channels last, 1 to 3 spatial dimensions), T in 1..32 bits used
    weights     list of [O, C_i / groups_i, *kernel_i] float32, float64, int32 or int16 (fixed point), or in fewer bits
                than the other values: float16, bfloat16 (those are float32), int8 (int32); a residual connection is one
                more input with a 1x1 kernel, depthwise where it is the identity
    stride, padding, dilation
                one number for each input and spatial dimension, input after input; default 1, 0, 1
    groups      one number for each input; default 1
    threshold, v, bias, reset, comparator, neuron
                as in `if_steps`, for neurons [B, *S', O]

    Returns (words [B, *S', O], v [B, *S', O]). Raises ValueError for shape or device, TypeError for dtype.
    """
    if not words or not weights:
        raise ValueError(f"conv_if: needs at least one input, got {len(words)} words and {len(weights)} weights")
    n = len(words) * max(words[0].ndim - 2, 1)
    return _conv_if(
        list(words),
        list(weights),
        as_values(v, weights[0]),
        as_values(threshold, weights[0]),
        bias,
        T,
        list(stride or [1] * n),
        list(padding or [0] * n),
        list(dilation or [1] * n),
        list(groups or [1] * len(words)),
        *code_of(neuron, reset, comparator),
    )


def output_shape(
    words: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]
) -> tuple[int, ...]:
    """[B, *S', O] of one input's convolution."""
    sizes = zip(words.shape[1:-1], weight.shape[2:], stride, padding, dilation, strict=True)
    return (words.shape[0], *((s + 2 * p - d * (k - 1) - 1) // st + 1 for s, k, st, p, d in sizes), weight.shape[0])


def _check(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: list[int],
    reset: str,
    comparator: str,
) -> tuple[int, ...]:
    _checks.terms("conv_if", words, weights, T)
    dims = words[0].ndim - 2
    geometry = {"stride": (stride, 1), "padding": (padding, 0), "dilation": (dilation, 1)}
    for name, (numbers, least) in geometry.items():
        if len(numbers) != dims * len(words) or any(n < least for n in numbers):
            raise ValueError(
                f"conv_if: {name} must be {dims * len(words)} numbers of at least {least} ({dims} an input), "
                f"got {numbers}"
            )
    if len(groups) != len(words) or any(g < 1 for g in groups):
        raise ValueError(f"conv_if: groups must be {len(words)} numbers of at least 1, got {groups}")
    shapes = []
    for i, (w, weight) in enumerate(zip(words, weights, strict=True)):
        if not 1 <= dims <= 3 or w.ndim != dims + 2 or weight.ndim != dims + 2:
            raise ValueError(
                "conv_if: words must be [B, *S, C], weights [O, C / groups, *kernel], with 1 to 3 spatial dimensions, "
                f"got {tuple(w.shape)} and {tuple(weight.shape)}"
            )
        if weight.shape[1] * groups[i] != w.shape[-1] or weight.shape[0] % groups[i] or 0 in weight.shape:
            raise ValueError(
                f"conv_if: weights[{i}] must be [O, C / groups, *kernel], C={w.shape[-1]}, groups={groups[i]}, O "
                f"divisible by groups, got {tuple(weight.shape)}"
            )
        part = slice(i * dims, (i + 1) * dims)
        shapes.append(output_shape(w, weight, stride[part], padding[part], dilation[part]))
    shape = shapes[0]
    if any(other != shape for other in shapes) or any(s < 1 for s in shape[1:]):
        raise ValueError(f"conv_if: every input must give one and the same output [B, *S', O], got {shapes}")
    _checks.neuron(
        "conv_if", T, shape, value_dtype(weights[0].dtype), words[0].device, v, threshold, bias, reset, comparator
    )
    return shape


# spelt out, because torch 2.6 cannot read list[...] annotations
SCHEMA = (
    "(Tensor[] words, Tensor[] weights, Tensor v, Tensor threshold, Tensor? bias, int T, int[] stride, int[] padding, "
    "int[] dilation, int[] groups, str reset, str comparator) -> (Tensor, Tensor)"
)


@torch.library.custom_op("fastsnn::conv_if", mutates_args=(), schema=SCHEMA)
def _conv_if(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: list[int],
    reset: str,
    comparator: str,
) -> tuple[Tensor, Tensor]:
    shape = _check(words, weights, v, threshold, bias, T, stride, padding, dilation, groups, reset, comparator)
    run = choose("conv_if", BACKENDS, words[0], weights[0])
    words, weights = [w.contiguous() for w in words], [w.contiguous() for w in weights]
    return run(words, weights, v, threshold, bias, T, stride, padding, dilation, groups, reset, comparator, shape)


@_conv_if.register_fake
def _(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: list[int],
    reset: str,
    comparator: str,
) -> tuple[Tensor, Tensor]:
    shape = _check(words, weights, v, threshold, bias, T, stride, padding, dilation, groups, reset, comparator)
    return _checks.results(words[0], v.dtype, shape, T, reset)
