"""Neurons without weights in Triton: one pass over the currents, potentials and words in registers for all steps."""

# what a kernel works on has no types of Python's

from math import gcd

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _triton
from fastsnn.firing import firing_of
from fastsnn.ops._graded_kernel import begun, emit, graded, planes_apart, store_state, store_words
from fastsnn.ops._neuron_kernel import NUMBERS, bounded, saturated
from fastsnn.ops._repeated_kernel import repeating, spread, values_of, within
from fastsnn.ops._step import goes_on
from fastsnn.spikes import word_dtype

# of each thread's loads and stores, the widest that there are
BYTES, THREADS = 16, 128


@triton.jit
def _drive(current, bias, BIAS: tl.constexpr, NUMBER: tl.constexpr):
    """What the neuron is driven by: current and bias, summed without loss."""
    if NUMBER == "i16":
        current = current.to(tl.int32)
    if BIAS == "none":
        return saturated(current, NUMBER)
    elif NUMBER == "i32":
        return saturated(current.to(tl.int64) + bias.to(tl.int64), NUMBER)
    else:
        return current + bias


@triton.jit(do_not_specialize=["units", "apart"])
def _neurons_kernel(
    currents,
    v,
    threshold,
    bias,
    words,
    after,
    units,
    v_period,
    threshold_period,
    bias_period,
    width,
    pitch,
    apart,
    UNIT: tl.constexpr,
    T: tl.constexpr,
    CONSTANT: tl.constexpr,
    NUMBER: tl.constexpr,
    V: tl.constexpr,
    V_FACTOR: tl.constexpr,
    THRESHOLD: tl.constexpr,
    THRESHOLD_FACTOR: tl.constexpr,
    BIAS: tl.constexpr,
    BIAS_FACTOR: tl.constexpr,
    BIAS_STEPS: tl.constexpr,
    HARD: tl.constexpr,
    STRICT: tl.constexpr,
    GRADED: tl.constexpr,
    KEEP: tl.constexpr,
    PITCHED: tl.constexpr,
    WIDTH_FACTOR: tl.constexpr,
    PITCH_FACTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    # a multiple of UNIT to the compiler's eyes, which is what wide loads and stores of every step's row depend on
    count = units.to(tl.int64) * UNIT
    inside = at < count
    FORM: tl.constexpr = "each" if V == "state" else V
    u = bounded(tl.broadcast_to(values_of(v, at, inside, v_period, FORM, V_FACTOR, NUMBER), [BLOCK]), NUMBER)
    emitted = tl.zeros([BLOCK], u.dtype)
    if V == "state":
        emitted = values_of(v + count, at, inside, v_period, FORM, V_FACTOR, NUMBER)
    state, word = begun(u, emitted, GRADED)
    theta = values_of(threshold, at, inside, threshold_period, THRESHOLD, THRESHOLD_FACTOR, NUMBER)
    add = 0
    if BIAS != "none" and not BIAS_STEPS:
        add = values_of(bias, at, inside, bias_period, BIAS, BIAS_FACTOR, NUMBER)
    current = tl.load(currents + at, mask=inside, other=0)
    drive = current
    if not BIAS_STEPS:
        drive = _drive(current, add, BIAS, NUMBER)
    for t in tl.static_range(T):
        if t > 0 and not CONSTANT:
            current = tl.load(currents + t * count + at, mask=inside, other=0)
        if BIAS_STEPS:
            row = bias + t * (count if BIAS == "each" else bias_period)
            add = values_of(row, at, inside, bias_period, BIAS, BIAS_FACTOR, NUMBER)
        if BIAS_STEPS or (t > 0 and not CONSTANT):
            drive = _drive(current, add, BIAS, NUMBER)
        state, word = emit(state, drive, theta, word, t, NUMBER, HARD, STRICT, GRADED)
    to = words + at
    if PITCHED:
        laps, place = repeating(width, WIDTH_FACTOR, BLOCK)
        line, column = within(place, width, WIDTH_FACTOR)
        line += laps.to(tl.int64) * (BLOCK // WIDTH_FACTOR)
        to = words + tl.max_contiguous(tl.multiple_of(line * pitch + column, PITCH_FACTOR), PITCH_FACTOR)
    store_words(to, apart, word, inside, GRADED)
    if KEEP:
        store_state(after + at, count, state, inside, GRADED)


def run(
    current: Tensor,
    constant: bool,
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    reset: str,
    comparator: str,
    keep: bool = True,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """T steps of neurons driven by currents [T, *N], or by one [*N] for all steps: (words [*N], v [*N] or None).

    current  contiguous; v, threshold and bias in its dtype, spread over the neurons as in `if_steps`
    keep     False: the potentials after the last step are not wanted
    out      words to write to, contiguous but for a last dimension that may be part of a longer one

    Words of neurons with several planes are [planes, *N], which may lie apart; what those that count are left in is
    potentials and counts [2, *N], and `v` may be that.
    """
    shape = current.shape if constant else current.shape[1:]
    count = shape.numel()
    firing, number = firing_of(reset), NUMBERS[current.dtype]
    out = torch.empty(firing.words_of(shape), dtype=word_dtype(T), device=current.device) if out is None else out
    after = torch.empty(firing.state_of(shape), dtype=current.dtype, device=current.device) if keep else None
    if not count:
        return out, after
    block = THREADS * BYTES // current.element_size()
    # as many as there are neurons, and be it a batch of one, potentials are taken for those of each neuron
    if goes_on(firing, v, shape):
        start, v_period, v_form = v.contiguous(), 1, "state"
    else:
        start, v_period, v_form = (v.contiguous(), 1, "each") if v.shape == shape else spread(v, shape, block)
    theta, threshold_period, threshold_form = spread(threshold, shape, block)
    add, bias_period, bias_form = bias, 1, "none"
    bias_steps = bias is not None and bias.ndim > len(shape) and bias.shape[0] > 1
    if bias is not None:
        bias = bias[0] if bias.ndim > len(shape) and not bias_steps else bias
        add, bias_period, bias_form = spread(bias, shape, block, (T,) if bias_steps else ())
    width = shape[-1] if shape else 1
    pitch = _pitch(out if len(firing.planes) == 1 else out[0], width)
    # of one item of the batch, so that a batch of another size finds the kernel compiled
    unit = gcd(shape[1:].numel() if len(shape) > 1 else count, 16)
    apart, apart_unit = planes_apart(out, firing, shape[1:-1].numel() * pitch if len(shape) > 1 else count)
    with _triton.on(current):
        _neurons_kernel[(triton.cdiv(count, block),)](
            current,
            start,
            theta,
            add,
            out,
            after,
            count // unit,
            v_period,
            threshold_period,
            bias_period,
            width,
            pitch,
            apart,
            UNIT=unit,
            T=T,
            CONSTANT=constant,
            NUMBER=number,
            V=v_form,
            V_FACTOR=gcd(v_period, block),
            THRESHOLD=threshold_form,
            THRESHOLD_FACTOR=gcd(threshold_period, block),
            BIAS=bias_form,
            BIAS_FACTOR=gcd(bias_period, block),
            BIAS_STEPS=bias_steps,
            HARD=firing.reset == "hard",
            STRICT=comparator == ">",
            GRADED=graded(firing, T, number, number == "i32", apart_unit),
            KEEP=keep,
            PITCHED=pitch != width,
            WIDTH_FACTOR=gcd(width, block),
            PITCH_FACTOR=gcd(width, pitch, 16),
            BLOCK=block,
            num_warps=THREADS // 32,
            enable_fp_fusion=False,
        )
    return out, after


def _pitch(out: Tensor, width: int) -> int:
    """How far apart the last dimension's lines lie."""
    # a dimension of one may have any stride
    lines = [stride for size, stride in zip(out.shape[:-1], out.stride()[:-1], strict=True) if size > 1]
    return lines[-1] if lines else out.stride(-2) if out.ndim > 1 else width
