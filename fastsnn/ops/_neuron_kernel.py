"""The neuron's step in Triton, shared by every kernel that fires: the same numbers as `_step.integrate`.

NUMBER is what values are: "f32" and "f64" as they are, "i32" saturating at +-2^30, "i16" (held in 32 bits) wrapping at
16 bits and saturating at +-2^14. Launch with enable_fp_fusion=False: a fused multiply-add would round differently.
"""

# what a kernel works on has no types of Python's

import torch
import triton
import triton.language as tl

LIMIT: tl.constexpr = tl.constexpr(2**30)
LIMIT_16: tl.constexpr = tl.constexpr(2**14)

NUMBERS = {torch.float32: "f32", torch.float64: "f64", torch.int32: "i32", torch.int16: "i16"}


@triton.jit
def bounded(v, NUMBER: tl.constexpr):
    """A membrane potential within the limits of its fixed point."""
    if NUMBER == "i32":
        return tl.minimum(tl.maximum(v, -LIMIT), LIMIT)
    elif NUMBER == "i16":
        return tl.minimum(tl.maximum(v, -LIMIT_16), LIMIT_16)
    else:
        return v


@triton.jit
def saturated(current, NUMBER: tl.constexpr):
    """A current as the neuron takes it: in "i32" within +-(2^30 - 1), whatever width the sum had."""
    if NUMBER == "i32":
        return tl.minimum(tl.maximum(current, 1 - LIMIT), LIMIT - 1).to(tl.int32)
    else:
        return current


@triton.jit
def wrapped(x):
    """The number in -2^15 .. 2^15 - 1 that is equal to x modulo 2^16."""
    return (x << 16) >> 16


@triton.jit
def fire(v, current, threshold, word, t: tl.constexpr, NUMBER: tl.constexpr, HARD: tl.constexpr, STRICT: tl.constexpr):
    """One step: (v, word with the spike as bit t). `current` is as `saturated` gives it."""
    v = v + current
    if NUMBER == "i16":
        v = wrapped(v)
    if STRICT:
        spike = v > threshold
    else:
        spike = v >= threshold
    if HARD:
        after = tl.zeros_like(v)
    else:
        after = v - threshold
        if NUMBER == "i16":
            after = wrapped(after)
        elif NUMBER == "i32":
            # only a threshold below zero can leave 32 bits here
            after = tl.where((threshold < 0) & (after < v), LIMIT, after)
    v = bounded(tl.where(spike, after, v), NUMBER)
    return v, word | (spike.to(tl.int32) << t)


@triton.jit
def unsigned(word):
    """A word in 32 bits without a sign, whatever its dtype: what is shifted in above its last bit is zeros."""
    if word.dtype == tl.int16:
        return word.to(tl.uint16, bitcast=True).to(tl.uint32)
    else:
        return word.to(tl.uint32)


@triton.jit
def first_bits(word, T: tl.constexpr):
    """The bits of the first T steps, in 32 bits without a sign."""
    if T < word.dtype.primitive_bitwidth:
        return unsigned(word) & ((1 << T) - 1)
    else:
        return unsigned(word)


@triton.jit
def popcount(bits):
    """How many of 32 bits without a sign are set, as int32; compilers make one instruction of this form."""
    bits = bits - ((bits >> 1) & 0x55555555)
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    bits = (bits + (bits >> 4)) & 0x0F0F0F0F
    return ((bits * 0x01010101) >> 24).to(tl.int32)
