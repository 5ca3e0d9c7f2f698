"""Values that repeat over neurons, in Triton: one for all, one for each, or some that repeat with a period."""

# what a kernel works on has no types of Python's

from math import lcm

import torch
import triton
import triton.language as tl
from torch import Tensor

# of a period and a block, the common multiple from which on values are spread out in memory: places have 32 bits
LONG_LAP = 2**30


@triton.jit
def repeating(period, FACTOR: tl.constexpr, BLOCK: tl.constexpr):
    """The block's neurons as (whole laps of lcm(period, BLOCK) before them, places in the lap); FACTOR is their gcd."""
    laps = tl.program_id(0) // (period // FACTOR)
    return laps, tl.program_id(0) % (period // FACTOR) * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def within(place, period, FACTOR: tl.constexpr):
    """Each place as (laps of the period, number within the period), with one division for up to 16 neighbours."""
    GROUP: tl.constexpr = FACTOR if FACTOR < 16 else 16
    first = place // GROUP * GROUP
    return first // period, tl.max_contiguous(tl.multiple_of(first % period + place % GROUP, GROUP), GROUP)


@triton.jit
def values_of(values, at, inside, period, FORM: tl.constexpr, FACTOR: tl.constexpr, NUMBER: tl.constexpr):
    """The values of a block's neurons: "one" for all, one for "each", or some that "repeat" with a period."""
    if FORM == "one":
        x = tl.load(values)
    elif FORM == "each":
        x = tl.load(values + at, mask=inside, other=0)
    else:
        place = repeating(period, FACTOR, at.shape[0])[1]
        x = tl.load(values + within(place, period, FACTOR)[1])
    return x.to(tl.int32) if NUMBER == "i16" else x


def spread(values: Tensor, shape: torch.Size, block: int, steps: tuple[int, ...] = ()) -> tuple[Tensor, int, str]:
    """Contiguous numbers, their period over the neurons and their form, as the kernel takes them, for each step."""
    size = values.shape[len(steps) :]
    tail, form = form_of(size, shape, block)
    values = values.reshape((*steps, *size[max(len(size) - len(tail), 0) :])).expand((*steps, *tail)).contiguous()
    return values, tail.numel() if form == "repeat" else 1, form


def form_of(size: torch.Size, shape: torch.Size, block: int) -> tuple[torch.Size, str]:
    """The last dimensions of the neurons that values of this size are needed for, and what the kernel makes of them."""
    # by dimensions, not by how many there are: a batch of one is to find the kernel compiled for a batch of more
    while size and size[0] == 1:
        size = size[1:]
    if not size:
        return size, "one"
    tail = shape[len(shape) - len(size) :]
    return (shape, "each") if len(tail) == len(shape) or lcm(tail.numel(), block) >= LONG_LAP else (tail, "repeat")
