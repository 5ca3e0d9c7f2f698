"""adaptive_steps in Triton: one pass over the currents, potentials and words in registers for all steps."""

# what a kernel works on has no types of Python's

from collections.abc import Sequence
from math import gcd

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _triton
from fastsnn.ops import _series as written_out
from fastsnn.ops._repeated_kernel import spread, values_of
from fastsnn.ops.adaptive import reference
from fastsnn.spikes import word_dtype

# of currents that a thread reads at once
BYTES, THREADS = 8, 128
# what leaves no bits behind the point of a number that it is added to
ROUNDER = {torch.float32: 12582912.0, torch.float64: 6755399441055744.0}
PLANES: tl.constexpr = tl.constexpr(reference.PLANES)
UNITS: tl.constexpr = tl.constexpr(float(reference.UNITS))
MOST: tl.constexpr = tl.constexpr(written_out.MOST_EXPONENT)
LOG2E: tl.constexpr = tl.constexpr(written_out.LOG2E)
LN2_HIGH: tl.constexpr = tl.constexpr(written_out.LN2_HIGH)
LN2_LOW: tl.constexpr = tl.constexpr(written_out.LN2_LOW)


@triton.jit
def _over(x, y):
    """A quotient rounded to the nearest, which a plain one of 32 bits is not."""
    if y.dtype == tl.float64:
        return x / y
    else:
        return tl.div_rn(x, y)


@triton.jit
def _series(x, FACTORS: tl.constexpr):
    """FACTORS[0] + FACTORS[1] x + FACTORS[2] x^2 + ..., from the last on."""
    found = tl.full(x.shape, FACTORS[len(FACTORS) - 1], x.dtype)
    for k in tl.static_range(1, len(FACTORS)):
        found = found * x + FACTORS[len(FACTORS) - 1 - k]
    return found


@triton.jit
def _exp(x, FACTORS: tl.constexpr, ROUNDER: tl.constexpr):
    x = tl.minimum(tl.maximum(x, -MOST), MOST)
    n = (x * LOG2E + ROUNDER) - ROUNDER
    found = _series((x - n * LN2_HIGH) - n * LN2_LOW, FACTORS)
    if x.dtype == tl.float64:
        return found * ((n.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
    else:
        return found * ((n.to(tl.int32) + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _log1p(x, FACTORS: tl.constexpr):
    """Of numbers 0..1."""
    s = _over(x, x + 2.0)
    return _series(s * s, FACTORS) * (s + s)


@triton.jit
def _threshold(above, current, NUMBERS: tl.constexpr, EXP: tl.constexpr, LOG: tl.constexpr, ROUNDER: tl.constexpr):
    """The thresholds of a step after the first; see `reference.threshold`."""
    held = above * NUMBERS[2]
    soft = tl.maximum(held, 0.0) + _log1p(_exp(-tl.abs(held), EXP, ROUNDER), LOG)
    follows = ((above * NUMBERS[0] - 1.0) + soft * NUMBERS[1]) * NUMBERS[4]
    evoked = _exp(current * NUMBERS[3], EXP, ROUNDER) * NUMBERS[5]
    below = _exp(-(follows + evoked), EXP, ROUNDER) + 1.0
    share = _over(tl.full(below.shape, UNITS, below.dtype), below)
    return tl.minimum(tl.maximum((share + ROUNDER) - ROUNDER, 1.0), UNITS - 1.0)


@triton.jit(do_not_specialize=["units", "first"])
def _adaptive_kernel(
    currents,
    v,
    bias,
    words,
    after,
    units,
    first,
    v_period,
    bias_period,
    UNIT: tl.constexpr,
    T: tl.constexpr,
    CONSTANT: tl.constexpr,
    LATER: tl.constexpr,
    V: tl.constexpr,
    V_FACTOR: tl.constexpr,
    BIAS: tl.constexpr,
    BIAS_FACTOR: tl.constexpr,
    BIAS_STEPS: tl.constexpr,
    NUMBERS: tl.constexpr,
    EXP: tl.constexpr,
    LOG: tl.constexpr,
    ROUNDER: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    count = units.to(tl.int64) * UNIT
    inside = at < count
    u = tl.broadcast_to(values_of(v, at, inside, v_period, V, V_FACTOR, ""), [BLOCK])
    total = tl.zeros([BLOCK], u.dtype)
    if LATER:
        total = tl.load(v + count + at, mask=inside, other=0)
    word = ()
    for _ in tl.static_range(PLANES):
        word = word + (tl.zeros([BLOCK], tl.int32),)
    step = first
    # not unrolled: a step is many instructions
    for t in range(T):
        current = tl.load(currents + (0 if CONSTANT else t * count) + at, mask=inside, other=0)
        if BIAS != "none":
            row = bias
            if BIAS_STEPS:
                row = bias + t * (count if BIAS == "each" else bias_period)
            current += values_of(row, at, inside, bias_period, BIAS, BIAS_FACTOR, "")
        level = tl.full([BLOCK], UNITS, u.dtype)
        if step > 0:
            mean = _over(tl.full([BLOCK], 1, u.dtype), tl.full([BLOCK], 0, u.dtype) + step)
            level = _threshold(u - total * mean, current, NUMBERS, EXP, LOG, ROUNDER)
        u += current
        emitted = tl.where(u >= level, level, 0)
        u -= emitted
        total += u
        whole = emitted.to(tl.int32)
        more = ()
        for p in tl.static_range(PLANES):
            more = more + (word[p] | (((whole >> (PLANES - 1 - p)) & 1) << t),)
        word = more
        step += 1
    for p in tl.static_range(PLANES):
        tl.store(words + p * count + at, word[p].to(words.dtype.element_ty), mask=inside)
    tl.store(after + at, u, mask=inside)
    tl.store(after + count + at, total, mask=inside)


def adaptive_steps(
    currents: Tensor, v: Tensor, bias: Tensor | None, T: int, numbers: Sequence[float], first: int
) -> tuple[Tensor, Tensor]:
    shape, device, dtype = currents.shape[1:], currents.device, currents.dtype
    count = shape.numel()
    words = torch.empty((reference.PLANES, *shape), dtype=word_dtype(T), device=device)
    after = torch.empty((2, *shape), dtype=dtype, device=device)
    if not count:
        return words, after
    block = THREADS * BYTES // currents.element_size()
    start, v_period, v_form = (v, 1, "each") if first else spread(v, shape, block)
    add, bias_period, bias_form = bias, 1, "none"
    bias_steps = bias is not None and bias.ndim > len(shape) and bias.shape[0] > 1
    if bias is not None:
        bias = bias[0] if bias.ndim > len(shape) and not bias_steps else bias
        add, bias_period, bias_form = spread(bias, shape, block, (T,) if bias_steps else ())
    # of one item of the batch, so that a batch of another size finds the kernel compiled
    unit = gcd(shape[1:].numel() if len(shape) > 1 else count, 16)
    with _triton.on(currents):
        _adaptive_kernel[(triton.cdiv(count, block),)](
            currents,
            start,
            add,
            words,
            after,
            count // unit,
            first,
            v_period,
            bias_period,
            UNIT=unit,
            T=T,
            CONSTANT=len(currents) == 1,
            LATER=first > 0,
            V=v_form,
            V_FACTOR=gcd(v_period, block),
            BIAS=bias_form,
            BIAS_FACTOR=gcd(bias_period, block),
            BIAS_STEPS=bias_steps,
            NUMBERS=reference.scaled(numbers),
            EXP=written_out.exp_factors(dtype),
            LOG=written_out.log_factors(dtype),
            ROUNDER=ROUNDER[dtype],
            BLOCK=block,
            num_warps=THREADS // 32,
            enable_fp_fusion=False,
        )
    return words, after
