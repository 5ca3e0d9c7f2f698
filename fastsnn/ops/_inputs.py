"""The inputs of a layer as its GPU kernels take them: matrix products of packed weights, and words looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as grid
from math import prod

import torch
from torch import Tensor

from fastsnn.ops import _three

# rows of weights begin at multiples of this many numbers, so that 16 bytes can be read at once
ROW = 64
# zeros behind the last row, into which its last slice may reach
BEHIND = 256
# taps of depthwise kernels that a neuron's registers have room for
MOST_LOOKS = 49
PLANE_BITS = 8


class Product:
    """An input whose sums are a matrix product.

    source    number of the input
    geometry  what the kernel calls INPUTS[INDEX]
    weight    [planes, O, row] int8, float16, bfloat16 or float32
    length    numbers that a sum has
    pooled    window of words that each tap adds up (3)
    """

    def __init__(
        self, source: int, weight: Tensor, pooled: Sequence[int], size: Sequence[int], window: tuple, planes: int
    ) -> None:
        outputs, channels, *kernel = weight.shape
        _, stride, padding, dilation = window
        self.source, self.length, self.pooled = source, channels * prod(kernel), tuple(pooled)
        row = -(-self.length // ROW) * ROW
        # the channels of one tap after another
        flat = weight.movedim(1, -1).reshape(outputs, -1)
        rows = digits(flat, planes) if planes > 1 or flat.dtype in (torch.int16, torch.int32) else [flat]
        room = torch.zeros(planes * outputs * row + BEHIND, dtype=rows[0].dtype, device=weight.device)
        self.weight = room[:-BEHIND].view(planes, outputs, row)
        for plane, values in zip(self.weight, rows, strict=True):
            plane[:, : self.length] = values
        sizes = _three.sizes(size[:-1])
        self.geometry = (channels, row, *sizes, *kernel, *stride, *padding, *dilation, *pooled)


class Look:
    """One tap of a depthwise input.

    source    number of the input
    geometry  what the kernel calls TAPS[INDEX]
    weight    [O] int32 or float32
    """

    def __init__(self, source: int, weight: Tensor, geometry: tuple) -> None:
        self.source, self.geometry = source, geometry
        self.weight = weight.to(torch.float32 if weight.is_floating_point() else torch.int32).contiguous()


def sorted_inputs(
    inputs: Sequence[Sequence[int]],
    weights: Sequence[Tensor],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: Sequence[int],
    wide: bool,
    proven: bool,
) -> tuple[list[Product], list[Look], int]:
    """(products, looks, groups that all products have).

    wide    32-bit sums may leave 32 bits
    proven  the weights may be looked at
    """
    dense, depthwise, common = split_inputs(inputs, weights, stride, padding, dilation, groups, proven, MOST_LOOKS)
    looks = [look for d in depthwise for look in _looks(d.source, d.weight, inputs[d.source], d.window)]
    planes = max((planes_of(weights[d.source], proven) for d in dense), default=1)
    # the kernel sums the two lowest planes apart from the others where there are five
    planes = 5 if wide and planes > 1 else planes
    products = [Product(d.source, d.weight, d.pooled, inputs[d.source], d.window, planes) for d in dense]
    return products, looks, common


@dataclass(frozen=True)
class Input:
    """One input of a layer in three dimensions.

    source  its number
    weight  [O, C / groups, d, h, w]; of a window that a pool was folded into, without its repetitions
    window  (kernel, stride, padding, dilation) of the whole kernel
    pooled  how often a tap of the weight is repeated (3)
    """

    source: int
    weight: Tensor
    window: tuple
    pooled: tuple[int, ...]


def split_inputs(
    inputs: Sequence[Sequence[int]],
    weights: Sequence[Tensor],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: Sequence[int],
    proven: bool,
    most_taps: int | None = None,
) -> tuple[list[Input], list[Input], int]:
    """(inputs that several channels are summed of, depthwise inputs, groups that all of the former have).

    Arguments as in `conv_if`; weights of the former are of one floating-point type, if of any.

    most_taps  of all depthwise inputs together; what is beyond is summed as zeros between the channels
    """
    dims = weights[0].ndim - 2
    depthwise: list[Input] = []
    rest: dict[int, tuple] = {}
    taps = 0
    for i, (size, weight) in enumerate(zip(inputs, weights, strict=True)):
        part = slice(i * dims, (i + 1) * dims)
        window = _three.geometry(weight.shape[2:], stride[part], padding[part], dilation[part])
        count = prod(window[0])
        if groups[i] == size[-1] and (most_taps is None or taps + count <= most_taps):
            depthwise.append(Input(i, weight.reshape(*weight.shape[:2], *window[0]), window, (1, 1, 1)))
            taps += count
        else:
            rest[i] = window
    together = {groups[i] for i in rest}
    common = together.pop() if len(together) == 1 else 1
    kinds = {weights[i].dtype for i in rest if weights[i].is_floating_point()}
    dense = []
    for i, window in rest.items():
        weight = weights[i] if groups[i] == common else ungrouped(weights[i], groups[i])
        if len(kinds) > 1:
            weight = weight.float()
        weight, pooled = _pooled(weight.reshape(*weight.shape[:2], *window[0]), window[3], proven)
        dense.append(Input(i, weight, window, pooled))
    return dense, depthwise, common


def digits(weight: Tensor, planes: int) -> list[Tensor]:
    """Whole numbers as signed digits of 8 bits, the highest first; exact modulo 2^(8 planes)."""
    rest, found = weight.to(torch.int64), []
    for _ in range(planes):
        low = ((rest + 2 ** (PLANE_BITS - 1)) & (2**PLANE_BITS - 1)) - 2 ** (PLANE_BITS - 1)
        found.append(low.to(torch.int8))
        rest = (rest - low) >> PLANE_BITS
    return found[::-1]


def ungrouped(weight: Tensor, groups: int) -> Tensor:
    """Weights of a grouped convolution as those of an ordinary one, zero between the groups."""
    outputs, per_group, *kernel = weight.shape
    dense = weight.new_zeros(groups, outputs // groups, groups, per_group, *kernel)
    for g in range(groups):
        dense[g, :, g] = weight[g * (outputs // groups) : (g + 1) * (outputs // groups)]
    return dense.reshape(outputs, groups * per_group, *kernel)


def planes_of(weight: Tensor, proven: bool) -> int:
    """Digits of 8 bits that the weights need; without looking at them, as many as their type can."""
    most = weight.dtype.itemsize
    if weight.is_floating_point() or most == 1:
        return 1
    if proven and weight.dtype == torch.int32:
        low, high = int(weight.min()), int(weight.max())
        for planes in range(1, most):
            ones = sum(256**i for i in range(planes))
            if -128 * ones <= low and high <= 127 * ones:
                return planes
    return most


def _looks(source: int, weight: Tensor, size: Sequence[int], window: tuple) -> list[Look]:
    kernel, stride, padding, dilation = window
    flat = weight.reshape(weight.shape[0], -1)
    looks = []
    for column, tap in enumerate(grid(*map(range, kernel))):
        offset = [k * d - p for k, d, p in zip(tap, dilation, padding, strict=True)]
        geometry = (source, *_three.sizes(size[:-1]), *stride, *offset, weight.shape[0] // size[-1])
        looks.append(Look(source, flat[:, column], geometry))
    return looks


def _pooled(weight: Tensor, dilation: Sequence[int], proven: bool) -> tuple[Tensor, tuple[int, ...]]:
    """(weights, window): a kernel [O, C, d, h, w] that an average pool was folded into without its repetitions."""
    window = [1, 1, 1]
    for i in range(3 if proven else 0):
        size = weight.shape[2 + i]
        for repeat in (4, 3, 2):
            if size % repeat == 0 and dilation[i] == 1:
                each = weight.unflatten(2 + i, (size // repeat, repeat))
                if bool((each == each.narrow(3 + i, 0, 1)).all()):
                    weight, window[i] = each.select(3 + i, 0), repeat
                    break
    return weight, tuple(window)
