"""Layers as products on the tensor cores, in CUDA: which can be, how their weights lie, how they are launched."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from fastsnn import _cuda, _gpu
from fastsnn.ops._inputs import Input, digits, planes_of
from fastsnn.ops._neurons_cuda import RULE

# the oldest GPUs whose tensor cores take 32 bytes of a sum at a time
LEAST_CAPABILITY = (8, 0)
# of a block: threads, rows (positions times steps), outputs, and bytes of the sum at a time, as csrc/layer/products.cu
THREADS, ROWS, COLUMNS, DEPTH = 256, 128, 128, 64
# bytes from one row of weights to the next in shared memory, and numbers from one row of sums
WEIGHT_PITCH, SUM_PITCH = DEPTH + 16, 33
WARPS, WARP_ROWS = THREADS // 32, 32
WORD_BYTES = {8: 1, 16: 2, 32: 4}
# inputs that one layer may have, as csrc/layer/term.cuh has room for, and numbers that describe one window there
MOST_INPUTS, WINDOW = 32, 19
# of the struct that layers of either kind are launched with, by whether their neurons are graded
FORMAT = f"<{2 * MOST_INPUTS + 5}q{MOST_INPUTS + 6}q{MOST_INPUTS}i{WINDOW * MOST_INPUTS}i14i"
CALLS = {False: ("LayerCall", FORMAT), True: ("GradedLayerCall", f"{FORMAT}{RULE}2q")}


@dataclass(frozen=True)
class Products:
    """A layer as matrix products."""

    def __str__(self) -> str:
        return "tensor cores"


def able(events: list[Input], sums: torch.dtype, device: torch.device) -> bool:
    """Whether inputs can be multiplied so: of whole numbers whose sums fit 32 bits, or of floats of 16 bits."""
    if device.type == "cuda" and _gpu.too_old(device, LEAST_CAPABILITY):
        return False
    halves = {e.weight.dtype for e in events} in ({torch.float16}, {torch.bfloat16})
    return bool(events) and (sums == torch.int32 or (sums == torch.float32 and halves))


def planes(events: list[Input], proven: bool) -> int:
    """Digits of 8 bits that the weights of all inputs are made of; 1 of floats."""
    return max(planes_of(e.weight, proven) for e in events)


def packed(event: Input, groups: int, count: int) -> Tensor:
    """Weights [O, C, d, h, w] as [planes, groups, O / groups, taps, C padded to DEPTH bytes]."""
    weight = event.weight
    rows = digits(weight, count) if not weight.is_floating_point() else [weight]
    numbers = DEPTH // rows[0].itemsize
    channels = -(-weight.shape[1] // numbers) * numbers
    flat = torch.stack(rows).flatten(3).movedim(2, 3)
    room = flat.new_zeros((*flat.shape[:3], channels))
    room[..., : flat.shape[3]] = flat
    return room.unflatten(1, (groups, -1)).contiguous()


def depth(event: Input) -> int:
    """Bytes of the channels of one position, in one plane."""
    weight = event.weight
    return weight.shape[1] * (weight.itemsize if weight.is_floating_point() else 1)


def slices(event: Input) -> int:
    """Steps of DEPTH bytes that the sum over one input takes."""
    return prod(event.window[0]) * -(-depth(event) // DEPTH)


def instance(
    operand: torch.dtype, values: torch.dtype, sums: torch.dtype, words: torch.dtype, steps: int, graded: bool = False
) -> _cuda.Kernel:
    """The kernel for products, neurons, sums and words of a type, for up to `steps` steps."""
    call, form = CALLS[graded]
    kinds = ", ".join(
        [*(_cuda.TYPES[kind] for kind in (operand, values, sums)), _cuda.WORDS[words], str(steps), *[call] * graded]
    )
    return _cuda.Kernel("layer/products.cu", f"products<{kinds}>", call, form, THREADS, 2)


def shared(operand: torch.dtype, steps: int) -> int:
    """Bytes of shared memory: two stages of words and weights, or the sums of all warps."""
    words = ROWS // steps * (DEPTH // operand.itemsize) * WORD_BYTES[steps]
    return max(2 * (COLUMNS * WEIGHT_PITCH + words), WARPS * WARP_ROWS * SUM_PITCH * 4)


def tiles(positions: int, outputs: int, groups: int, steps: int) -> int:
    return -(-positions // (ROWS // steps)) * -(-outputs // COLUMNS) * groups
