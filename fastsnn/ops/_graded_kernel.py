"""The step of the neurons of `fastsnn.firing` in Triton: the same numbers as `_step.integrate`.

Of plain neurons a state is v and words are a tensor. Of others a state is (v, count), and words are a tuple with one
tensor for each plane. GRADED says which they are: () for plain ones, else what `graded` gives.
"""

from functools import lru_cache
from math import gcd

import triton
import triton.language as tl
from torch import Tensor

from fastsnn.firing import COUNT_UNIT_32, QUARTERS, Firing
from fastsnn.ops._neuron_kernel import LIMIT, bounded, fire, wrapped


@lru_cache(maxsize=256)
def graded(firing: Firing, T: int, number: str, wide: bool, apart: int) -> tuple:
    """GRADED of T steps of neurons: amplitudes and levels of the planes, whether single, below, wide, counted and
    differential, what a level counts as, gains and caps of the steps (none: empty) and `apart`.

    wide   potentials need 64 bits within a step
    apart  divides what lies between two planes of words, which kernels are given as a multiple of it
    """
    if firing.plain:
        return ()
    unit = COUNT_UNIT_32 if number == "i32" else 1
    gains = firing.gains(T) if number.startswith("f") else firing.fixed_gains(T)
    flags = (firing.single, firing.below, wide, firing.counted, firing.differential)
    caps = tuple(cap * unit for cap in firing.caps(T) or ())
    return firing.amplitudes, tuple(plane.level for plane in firing.planes), *flags, unit, gains or (), caps, apart


def planes_apart(words: Tensor, firing: Firing, image: int) -> tuple[int | None, int]:
    """How far planes of words [planes, B, ...] lie apart, as a multiple of the second number; None for one plane.

    image  how far those of two images do
    """
    if len(firing.planes) == 1:
        return None, 1
    # not by the batch, so that one of another size finds the kernel compiled
    unit = gcd(image, words.stride(0), 16)
    return words.stride(0) // unit, unit


def within_a_step(firing: Firing, threshold: Tensor) -> bool:
    """Whether no potential of 32 bits can leave them between two planes; looks at thresholds, but of plain neurons."""
    if firing.plain or not threshold.numel():
        return True
    most = max(max(abs(plane.amplitude), -(-plane.level // QUARTERS), 3) for plane in firing.planes)
    return int(threshold.min()) >= 0 and int(threshold.max()) * most < 2**31


@triton.jit
def begun(v, count, GRADED: tl.constexpr):
    """(state, words) of neurons before their first step."""
    if len(GRADED) == 0:
        return v, tl.zeros(v.shape, tl.int32)
    else:
        words = ()
        for _ in tl.static_range(len(GRADED[0])):
            words = words + (tl.zeros(v.shape, tl.int32),)
        return (v, count), words


@triton.jit
def emit(
    state,
    current,
    threshold,
    words,
    t: tl.constexpr,
    NUMBER: tl.constexpr,
    HARD: tl.constexpr,
    STRICT: tl.constexpr,
    GRADED: tl.constexpr,
):
    """One step: (state, words with the spikes as bit t). `current` is as `saturated` gives it."""
    if len(GRADED) == 0:
        return fire(state, current, threshold, words, t, NUMBER, HARD, STRICT)
    else:
        return _emit(state, current, threshold, words, t, NUMBER, HARD, STRICT, GRADED)


@triton.jit
def _emit(
    state,
    current,
    threshold,
    words,
    t: tl.constexpr,
    NUMBER: tl.constexpr,
    HARD: tl.constexpr,
    STRICT: tl.constexpr,
    GRADED: tl.constexpr,
):
    AMPLITUDES: tl.constexpr = GRADED[0]
    LEVELS: tl.constexpr = GRADED[1]
    SINGLE: tl.constexpr = GRADED[2]
    BELOW: tl.constexpr = GRADED[3]
    WIDE: tl.constexpr = GRADED[4]
    DIFFERENTIAL: tl.constexpr = GRADED[6]
    UNIT: tl.constexpr = GRADED[7]
    GAINS: tl.constexpr = GRADED[8]
    CAPS: tl.constexpr = GRADED[9]
    v, count = state
    if len(GAINS) > 0:
        v = _grown(v, NUMBER, GAINS[t])
        if DIFFERENTIAL:
            count = _grown(count, NUMBER, GAINS[t])
    v = v + current
    if NUMBER == "i16":
        v = wrapped(v)
    if WIDE:
        v = v.to(tl.int64)
        count = count.to(tl.int64)
        threshold = threshold.to(tl.int64)
    after = ()
    for p in tl.static_range(len(words)):
        spike = _reached(v, threshold, NUMBER, STRICT, BELOW, AMPLITUDES[p] < 0, LEVELS[p])
        if AMPLITUDES[p] < 0:
            spike = spike & (count >= -AMPLITUDES[p] * UNIT)
        elif len(CAPS) > 0:
            spike = spike & (count + AMPLITUDES[p] * UNIT <= CAPS[t])
        if p == 0:
            fired = spike
        else:
            if SINGLE:
                spike = spike & ~fired
            fired = fired | spike
        if not HARD:
            v = tl.where(spike, v - threshold * AMPLITUDES[p], v)
            if NUMBER == "i16":
                v = wrapped(v)
        count = tl.where(spike, count + AMPLITUDES[p] * UNIT, count)
        after = after + (words[p] | (spike.to(tl.int32) << t),)
    if HARD:
        v = tl.where(fired, tl.zeros_like(v), v)
    v = bounded(v, NUMBER)
    count = bounded(count, NUMBER)
    if WIDE:
        v = v.to(tl.int32)
        count = count.to(tl.int32)
    return (v, count), after


@triton.jit
def _grown(x, NUMBER: tl.constexpr, BY: tl.constexpr):
    """Values with their gain; no product of it leaves 32 bits."""
    if NUMBER == "i32":
        held = tl.minimum(tl.maximum(x, -(LIMIT // 2)), LIMIT // 2)
        low = ((held & 32767) * BY) >> 15
        return bounded(x + ((held >> 15) * BY + low), NUMBER)
    else:
        # as a number of the values' type: what Python's becomes by itself has 32 bits
        return x + x * tl.full([], BY, x.dtype)


@triton.jit
def _reached(
    v,
    threshold,
    NUMBER: tl.constexpr,
    STRICT: tl.constexpr,
    BELOW: tl.constexpr,
    NEGATIVE: tl.constexpr,
    LEVEL: tl.constexpr,
):
    """Where potentials are high enough for a plane, or low enough for a negative one."""
    if NUMBER == "f32" or NUMBER == "f64":
        at = threshold * (LEVEL / 4)
    else:
        at = threshold * (LEVEL // 4)
        if LEVEL % 4 > 0:
            at += (threshold * (LEVEL % 4)) >> 2
    if NEGATIVE:
        if BELOW:
            return v < -at
        else:
            return v <= -at
    elif STRICT:
        return v > at
    else:
        return v >= at


@triton.jit
def store_words(at, apart, words, mask, GRADED: tl.constexpr):
    """Writes words to places `at`, those of each further plane `apart` times the last number of GRADED behind."""
    if len(GRADED) == 0:
        tl.store(at, words.to(at.dtype.element_ty), mask=mask)
    else:
        for p in tl.static_range(len(words)):
            if p > 0:
                at += apart.to(tl.int64) * GRADED[10]
            tl.store(at, words[p].to(at.dtype.element_ty), mask=mask)


@triton.jit
def store_state(at, neurons, state, mask, GRADED: tl.constexpr):
    """Writes potentials to places `at` and counts, of neurons that have them, that many `neurons` behind."""
    if len(GRADED) == 0:
        tl.store(at, state.to(at.dtype.element_ty), mask=mask)
    else:
        tl.store(at, state[0].to(at.dtype.element_ty), mask=mask)
        if GRADED[5]:
            tl.store(at + neurons, state[1].to(at.dtype.element_ty), mask=mask)
