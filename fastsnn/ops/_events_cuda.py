"""Layers driven by events, in CUDA: how rows of weights lie, how the work can be shared out, how it is launched."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from fastsnn import _cuda
from fastsnn.ops._inputs import Input
from fastsnn.ops._products_cuda import CALLS

WARPS, LANES = 8, 32
# rows of weights are padded to as many numbers: what a lane reads at once
ROW = 4
# bytes that a thread's sums may take, and those of one step
ROOM, STEP_ROOM = 256, 16
# chunks of channels that a warp should have at least, where several share a sum
LEAST_CHUNKS = 4


@dataclass(frozen=True)
class Split:
    """How the work is shared out.

    outputs  of a lane: 1, 2 or 4
    parts    warps that share the sum of one position: 1, 2, 4 or 8
    """

    outputs: int
    parts: int

    def __str__(self) -> str:
        return f"events, {self.outputs} outputs a lane, {self.parts} warps a position"


@dataclass(frozen=True)
class Work:
    """What there is to share out.

    positions  of the output, of all images
    outputs    of a group;  groups  their number
    chunks     of 32 channels that a sum goes over
    sums       the type of sums;  steps  that the kernel has room for
    """

    positions: int
    outputs: int
    groups: int
    chunks: int
    sums: torch.dtype
    steps: int

    @property
    def most_outputs(self) -> int:
        size = self.sums.itemsize
        return min(max(ROOM // (self.steps * size), 1), STEP_ROOM // size)

    def tiles(self, split: Split) -> int:
        """Blocks that have work."""
        across = -(-self.positions // (WARPS // split.parts))
        return across * -(-self.outputs // (LANES * split.outputs)) * self.groups


def usual(work: Work, processors: int) -> Split:
    """What is taken where nothing was measured: warps share sums until every multiprocessor has work."""
    outputs, parts = work.most_outputs, 1
    while outputs > 1 and LANES * outputs >= 2 * work.outputs:
        outputs //= 2
    while parts < WARPS and work.chunks >= 2 * parts * LEAST_CHUNKS:
        if work.tiles(Split(outputs, parts)) >= 2 * processors:
            break
        parts *= 2
    while outputs > 1 and work.tiles(Split(outputs, parts)) < processors:
        outputs //= 2
    return Split(outputs, parts)


def choices(work: Work, processors: int) -> tuple[Split, ...]:
    """What is worth measuring: the usual one, then those that differ most from one another first."""
    found = []
    for outputs in (n for n in (4, 2, 1) if n <= work.most_outputs and (n == 1 or LANES * n < 2 * work.outputs)):
        for split in (Split(outputs, parts) for parts in (1, 2, 4, 8)):
            # sums are shared where there is little else to share out
            if split.parts == 1 or (split.parts <= work.chunks and work.tiles(split) <= 8 * processors):
                found.append(split)
    ends = [found[i // 2 if i % 2 == 0 else -1 - i // 2] for i in range(len(found))]
    return tuple(dict.fromkeys([usual(work, processors), *ends]))


def chunks(event: Input) -> int:
    return prod(event.window[0]) * -(-event.weight.shape[1] // LANES)


def row(outputs: int) -> int:
    """Numbers of a row of weights."""
    return -(-outputs // ROW) * ROW


def packed(event: Input, groups: int, operand: torch.dtype) -> Tensor:
    """Weights [O, C, d, h, w] as [groups, taps, C, row]: what one input neuron adds to all outputs of its group."""
    weight = event.weight.to(operand)
    flat = weight.reshape(groups, -1, *weight.shape[1:]).flatten(3).permute(0, 3, 2, 1)
    rows = flat.new_zeros((*flat.shape[:3], row(flat.shape[3])))
    rows[..., : flat.shape[3]] = flat
    return rows


def instance(
    operand: torch.dtype,
    values: torch.dtype,
    sums: torch.dtype,
    words: torch.dtype,
    outputs: int,
    steps: int,
    graded: bool = False,
) -> _cuda.Kernel:
    """The kernel for weights, neurons, sums and words of a type; `outputs` a lane, for up to `steps` steps."""
    call, form = CALLS[graded]
    kinds = [_cuda.TYPES[kind] for kind in (operand, values, sums)]
    arguments = ", ".join([*kinds, _cuda.WORDS[words], str(outputs), str(steps), *[call] * graded])
    return _cuda.Kernel("layer/layer.cu", f"layer<{arguments}>", call, form, LANES * WARPS, 2)


def shared(outputs: int, steps: int, sums: torch.dtype) -> int:
    """Bytes of shared memory in which warps hand over sums, where they share any."""
    return WARPS // 2 * outputs * steps * LANES * sums.itemsize
