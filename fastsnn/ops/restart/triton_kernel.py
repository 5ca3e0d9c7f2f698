"""restart in Triton: one pass over what all steps of the first run left."""

# what a kernel works on has no types of Python's

from collections.abc import Sequence
from math import gcd

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _triton
from fastsnn.ops._repeated_kernel import spread, values_of
from fastsnn.ops._step import LIMIT as LIMIT_32
from fastsnn.ops.restart import reference

THREADS, BYTES = 128, 16
LESS: tl.constexpr = tl.constexpr(1 - reference.BEYOND)
MORE: tl.constexpr = tl.constexpr(1 + reference.BEYOND)
LIMIT: tl.constexpr = tl.constexpr(float(LIMIT_32))
# beyond what any potential is
NEVER: tl.constexpr = tl.constexpr(1.7976931348623157e308)
# what leaves no bits behind the point of a number that it is added to
ROUNDER: tl.constexpr = tl.constexpr(6755399441055744.0)


@triton.jit(do_not_specialize=["units"])
def _restart_kernel(
    words,
    v,
    threshold,
    start,
    out,
    units,
    threshold_period,
    start_period,
    UNIT: tl.constexpr,
    STEPS: tl.constexpr,
    THRESHOLD: tl.constexpr,
    THRESHOLD_FACTOR: tl.constexpr,
    START: tl.constexpr,
    START_FACTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < units.to(tl.int64) * UNIT
    theta = values_of(threshold, at, inside, threshold_period, THRESHOLD, THRESHOLD_FACTOR, "").to(tl.float64)
    begin = values_of(start, at, inside, start_period, START, START_FACTOR, "").to(tl.float64)
    fired = tl.full([BLOCK], NEVER, tl.float64)
    missed = tl.full([BLOCK], -NEVER, tl.float64)
    after = tl.zeros([BLOCK], tl.float64)
    for t in tl.static_range(STEPS):
        spike = (tl.load(words[t] + at, mask=inside, other=0) & 1) != 0
        after = tl.load(v[t] + at, mask=inside, other=0).to(tl.float64)
        before = after + tl.where(spike, theta, 0.0)
        fired = tl.where(spike, tl.minimum(fired, before), fired)
        missed = tl.where(spike, missed, tl.maximum(missed, before))
    less = tl.maximum(fired - LESS * theta, theta)
    more = tl.maximum(MORE * theta - missed, theta)
    off = tl.where((after < 0.0) & (fired < NEVER), -less, 0.0)
    off = tl.where((after >= theta) & (missed > -NEVER), more, off)
    found = begin + off
    if out.dtype.element_ty == tl.int32:
        found = tl.minimum(tl.maximum((found + ROUNDER) - ROUNDER, -LIMIT), LIMIT)
    tl.store(out + at, found.to(out.dtype.element_ty), mask=inside)


def restart(words: Sequence[Tensor], v: Sequence[Tensor], threshold: Tensor, start: Tensor) -> Tensor:
    out, shape = torch.empty_like(v[0]), v[0].shape
    count = out.numel()
    if not count:
        return out
    block = THREADS * BYTES // out.element_size()
    theta, threshold_period, threshold_form = spread(threshold, shape, block)
    begin, start_period, start_form = spread(start, shape, block)
    # of one item of the batch, so that a batch of another size finds the kernel compiled
    unit = gcd(shape[1:].numel() if len(shape) > 1 else count, 16)
    with _triton.on(out):
        _restart_kernel[(triton.cdiv(count, block),)](
            tuple(words),
            tuple(v),
            theta,
            begin,
            out,
            count // unit,
            threshold_period,
            start_period,
            UNIT=unit,
            STEPS=len(v),
            THRESHOLD=threshold_form,
            THRESHOLD_FACTOR=gcd(threshold_period, block),
            START=start_form,
            START_FACTOR=gcd(start_period, block),
            BLOCK=block,
            num_warps=THREADS // 32,
            enable_fp_fusion=False,
        )
    return out
