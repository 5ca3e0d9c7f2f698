"""pool: windows over packed spikes.

The word-wise OR, the spikes of the most active input, what the largest sum changes by, or the number of spikes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.firing import MOST_PLANES
from fastsnn.ops import _checks
from fastsnn.spikes import word_dtype
from fastsnn.windows import output_size


def _backends(function: str, triton: str = "triton_kernel") -> tuple[Backend, ...]:
    return (
        Backend("triton", f"fastsnn.ops.pool.{triton}:{function}", _triton.refuse, _triton.reason),
        Backend("cuda", f"fastsnn.ops.pool.cuda:{function}", _cuda.refuse, _cuda.reason),
        Backend("native", f"fastsnn.ops.pool.native:{function}", _native.refuse, _native.reason),
        Backend("reference", f"fastsnn.ops.pool.reference:{function}", lambda *_: None),
    )


BACKENDS, GATE_BACKENDS, COUNTS_BACKENDS = _backends("pool_or"), _backends("pool_gate"), _backends("pool_counts")
LATERAL_BACKENDS = _backends("pool_lateral", "lateral_kernel")

Size = Sequence[int]


def pool_or(
    words: Tensor,
    T: int,
    kernel: Size,
    stride: Size | None = None,
    padding: Size | None = None,
    dilation: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Max pooling step by step: a window spikes at t where any of its inputs does.

    words       [B, *S, C], T in 1..32 bits used
    kernel, stride, padding, dilation
                one number a spatial dimension; default stride = kernel, padding 0, dilation 1
    ceil_mode   as in torch.nn.functional.max_pool2d

    Returns words [B, *S', C]. Raises ValueError for shape, TypeError for dtype.
    """
    return _pool_or(words, T, *_geometry(words, kernel, stride, padding, dilation), ceil_mode)


def pool_gate(
    words: Tensor,
    counts: Tensor,
    T: int,
    kernel: Size,
    stride: Size | None = None,
    padding: Size | None = None,
    dilation: Size | None = None,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Max pooling gated by rate: a window passes on the spikes of the input that has spiked most so far.

    counts      [B, *S, C] int32: spikes of each input before step 0

    The other arguments are those of `pool_or`. The count includes the step itself; of equals the first in the window
    counts. Returns (words [B, *S', C], counts [B, *S, C] after the last step).
    Source: Rueckauer et al. 2017 (gating by the estimated firing rate).
    """
    return _pool_gate(words, counts, T, *_geometry(words, kernel, stride, padding, dilation), ceil_mode)


def pool_lateral(
    words: Tensor,
    sums: Tensor,
    T: int,
    kernel: Size,
    stride: Size | None = None,
    padding: Size | None = None,
    dilation: Size | None = None,
    ceil_mode: bool = False,
    amplitudes: Size = (1,),
) -> tuple[Tensor, Tensor]:
    """Max pooling of what was emitted in sum: a window emits what the largest sum of its inputs changes by.

        sum_i[t] = what input i has emitted up to step t;   out[t] = max_i sum_i[t] - max_i sum_i[t - 1]

    After any step a window has emitted as much as its most active input, and where spikes are taken back, so does it.

    words       [B, *S, C], or [planes, B, *S, C] where there are several amplitudes
    sums        [B, *S, C] int32: what each input has emitted before step 0
    amplitudes  what a spike of each plane is worth, 1 to 16 whole numbers but 0. What a window emits is made of them in
                this order, each once at most where there is room for it

    The other arguments are those of `pool_or`. Returns (words of the windows, with planes in front where there are
    several, sums [B, *S, C] after the last step). Source: Li, Zeng, IJCAI 2022 (LIPooling).
    """
    geometry = _geometry(sums, kernel, stride, padding, dilation)
    return _pool_lateral(words, sums, T, list(amplitudes), *geometry, ceil_mode)


def pool_counts(
    words: Tensor,
    T: int,
    kernel: Size,
    stride: Size | None = None,
    padding: Size | None = None,
    dilation: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Sum pooling over windows and time: spikes in each window during T steps, [B, *S', C] int32.

    The arguments are those of `pool_or`; divide by T and the window's size for the mean.
    """
    return _pool_counts(words, T, *_geometry(words, kernel, stride, padding, dilation), ceil_mode)


def _geometry(
    words: Tensor, kernel: Size, stride: Size | None, padding: Size | None, dilation: Size | None
) -> tuple[list[int], list[int], list[int], list[int]]:
    dims = max(words.ndim - 2, 1)
    return list(kernel), list(stride or kernel), list(padding or [0] * dims), list(dilation or [1] * dims)


def _output(
    op: str, words: Tensor, T: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
    ceil_mode: bool,
) -> tuple[int, ...]:  # fmt: skip
    _checks.words(op, words, T)
    dims = words.ndim - 2
    if dims < 1 or {len(kernel), len(stride), len(padding), len(dilation)} != {dims}:
        raise ValueError(
            f"{op}: words must be [B, *S, C] with one kernel, stride, padding and dilation for each spatial dimension, "
            f"got words {tuple(words.shape)}, {kernel=}, {stride=}, {padding=}, {dilation=}"
        )
    if min(kernel + stride + dilation) < 1 or any(not 0 <= 2 * p <= k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(
            f"{op}: kernel, stride and dilation must be at least 1 and padding at most half the kernel, "
            f"got {kernel=}, {stride=}, {padding=}, {dilation=}"
        )
    out = map(output_size, words.shape[1:-1], kernel, stride, padding, dilation, [ceil_mode] * dims)
    shape = (words.shape[0], *out, words.shape[-1])
    if any(n < 1 for n in shape[1:-1]):
        raise ValueError(f"{op}: kernel {kernel} leaves nothing of words {tuple(words.shape)}")
    return shape


def _check_counts(words: Tensor, counts: Tensor) -> None:
    _checks.same("pool_gate", "counts", counts, torch.int32, words.device)
    if counts.shape != words.shape:
        raise ValueError(
            f"pool_gate: counts must have the shape of words {tuple(words.shape)}, got {tuple(counts.shape)}"
        )


def _lateral_output(
    words: Tensor, sums: Tensor, T: int, amplitudes: list[int], kernel: list[int], stride: list[int],
    padding: list[int], dilation: list[int], ceil_mode: bool,
) -> tuple[int, ...]:  # fmt: skip
    if not 1 <= len(amplitudes) <= MOST_PLANES or 0 in amplitudes:
        raise ValueError(f"pool_lateral: amplitudes must be 1 to {MOST_PLANES} numbers but 0, got {amplitudes}")
    _checks.words("pool_lateral", words, T)
    _checks.same("pool_lateral", "sums", sums, torch.int32, words.device)
    planes = (len(amplitudes),) * (len(amplitudes) > 1)
    if tuple(words.shape) != (*planes, *sums.shape):
        raise ValueError(
            f"pool_lateral: words must be those of sums {tuple(sums.shape)} on {len(amplitudes)} planes, "
            f"got {tuple(words.shape)}"
        )
    plane = words[0] if planes else words
    return (*planes, *_output("pool_lateral", plane, T, kernel, stride, padding, dilation, ceil_mode))


# spelt out, because torch 2.6 cannot read list[...] annotations
GEOMETRY = "int T, int[] kernel, int[] stride, int[] padding, int[] dilation, bool ceil_mode"


@torch.library.custom_op("fastsnn::pool_or", mutates_args=(), schema=f"(Tensor words, {GEOMETRY}) -> Tensor")
def _pool_or(
    words: Tensor, T: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
    ceil_mode: bool,
) -> Tensor:  # fmt: skip
    _output("pool_or", words, T, kernel, stride, padding, dilation, ceil_mode)
    run = choose("pool_or", BACKENDS, words)
    return run(words.contiguous(), T, kernel, stride, padding, dilation, ceil_mode)


@_pool_or.register_fake
def _(words, T, kernel, stride, padding, dilation, ceil_mode):
    shape = _output("pool_or", words, T, kernel, stride, padding, dilation, ceil_mode)
    return words.new_empty(shape, dtype=word_dtype(T))


@torch.library.custom_op(
    "fastsnn::pool_gate", mutates_args=(), schema=f"(Tensor words, Tensor counts, {GEOMETRY}) -> (Tensor, Tensor)"
)
def _pool_gate(
    words: Tensor, counts: Tensor, T: int, kernel: list[int], stride: list[int], padding: list[int],
    dilation: list[int], ceil_mode: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    _output("pool_gate", words, T, kernel, stride, padding, dilation, ceil_mode)
    _check_counts(words, counts)
    run = choose("pool_gate", GATE_BACKENDS, words)
    return run(words.contiguous(), counts.contiguous(), T, kernel, stride, padding, dilation, ceil_mode)


@_pool_gate.register_fake
def _(words, counts, T, kernel, stride, padding, dilation, ceil_mode):
    shape = _output("pool_gate", words, T, kernel, stride, padding, dilation, ceil_mode)
    _check_counts(words, counts)
    return words.new_empty(shape, dtype=word_dtype(T)), words.new_empty(words.shape, dtype=torch.int32)


@torch.library.custom_op(
    "fastsnn::pool_lateral",
    mutates_args=(),
    schema=f"(Tensor words, Tensor sums, {GEOMETRY.replace(',', ', int[] amplitudes,', 1)}) -> (Tensor, Tensor)",
)
def _pool_lateral(
    words: Tensor, sums: Tensor, T: int, amplitudes: list[int], kernel: list[int], stride: list[int],
    padding: list[int], dilation: list[int], ceil_mode: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    _lateral_output(words, sums, T, amplitudes, kernel, stride, padding, dilation, ceil_mode)
    run = choose("pool_lateral", LATERAL_BACKENDS, words)
    return run(words.contiguous(), sums.contiguous(), T, amplitudes, kernel, stride, padding, dilation, ceil_mode)


@_pool_lateral.register_fake
def _(words, sums, T, amplitudes, kernel, stride, padding, dilation, ceil_mode):
    shape = _lateral_output(words, sums, T, amplitudes, kernel, stride, padding, dilation, ceil_mode)
    return words.new_empty(shape, dtype=word_dtype(T)), words.new_empty(sums.shape, dtype=torch.int32)


@torch.library.custom_op("fastsnn::pool_counts", mutates_args=(), schema=f"(Tensor words, {GEOMETRY}) -> Tensor")
def _pool_counts(
    words: Tensor, T: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
    ceil_mode: bool,
) -> Tensor:  # fmt: skip
    _output("pool_counts", words, T, kernel, stride, padding, dilation, ceil_mode)
    run = choose("pool_counts", COUNTS_BACKENDS, words)
    return run(words.contiguous(), T, kernel, stride, padding, dilation, ceil_mode)


@_pool_counts.register_fake
def _(words, T, kernel, stride, padding, dilation, ceil_mode):
    shape = _output("pool_counts", words, T, kernel, stride, padding, dilation, ceil_mode)
    return words.new_empty(shape, dtype=torch.int32)
