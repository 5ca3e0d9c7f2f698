"""Data movement of any kind as an index: the operator itself is run on numbered elements.

Views, permutations, slices, padding with zeros, concatenation, channel shuffles and nearest-neighbour upsampling all
become one `Move`, without a rule for each: what the operator does to the numbers 1..N is what it does to the values.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastsnn.windows import Shape

BATCH = 2


def numbered(shape: Shape, start: int, samples_apart: int) -> Tensor:
    """[BATCH, C, *S] float64: the elements of a channels-last value, numbered from `start`, samples set apart."""
    ids = torch.arange(start, start + _size(shape), dtype=torch.float64).reshape(shape)
    ids = ids.movedim(-1, 0) if len(shape) > 1 else ids
    return torch.stack([ids + b * samples_apart for b in range(BATCH)])


def trace_movement(
    run: Callable[[Sequence[Tensor]], Tensor | Sequence[Tensor]], shapes: Sequence[Shape]
) -> list[tuple[Tensor, Shape]] | None:
    """Runs `run` on numbered inputs: the index and channels-last shape of each output.

    None where the operator mixes samples, or makes values that are no input element.
    """
    total = sum(map(_size, shapes))
    inputs, start = [], 1
    for shape in shapes:
        inputs.append(numbered(shape, start, total))
        start += _size(shape)
    results = run(inputs)
    moves = []
    for out in [results] if isinstance(results, Tensor) else results:
        index = index_of(out, total)
        if index is None:
            return None
        moves.append((index, tuple(index.shape)))
    return moves


def index_of(ids: Tensor, total: int) -> Tensor | None:
    """The index, channels last, of numbered elements [BATCH, C, *S] where each sample has its own; else None."""
    if ids.ndim < 2 or ids.shape[0] != BATCH:
        return None
    first, second = ids[0], ids[1]
    known = (first == first.round()) & (first >= 0) & (first <= total)
    if not known.all() or not torch.equal(second, torch.where(first > 0, first + total, 0)):
        return None
    return (first.movedim(0, -1) if first.ndim > 1 else first).to(torch.int64) - 1


def is_identity(index: Tensor, shape: Shape) -> bool:
    """Whether all elements of a value of `shape` stay in their order (they may get another shape)."""
    return index.numel() == _size(shape) and torch.equal(index.flatten(), torch.arange(index.numel()))


def channel_map(index: Tensor, shapes: Sequence[Shape]) -> list[tuple[int, int]] | None:
    """For each output channel the (input, channel) it copies, (-1, -1) for zeros; None if positions move as well."""
    spatial = shapes[0][:-1]
    if any(shape[:-1] != spatial for shape in shapes) or index.shape[:-1] != spatial:
        return None
    positions = index[..., 0].numel()
    flat = index.reshape(positions, -1)
    table, offsets, start = [], [], 0
    for shape in shapes:
        offsets.append(start)
        start += _size(shape)
    for c in range(flat.shape[1]):
        first = int(flat[0, c])
        if first < 0:
            source, channel, want = -1, -1, torch.full((positions,), -1)
        else:
            source = max(i for i, offset in enumerate(offsets) if offset <= first)
            width, channel = shapes[source][-1], first - offsets[source]
            if channel >= width:
                return None
            want = offsets[source] + channel + width * torch.arange(positions)
        if not torch.equal(flat[:, c], want):
            return None
        table.append((source, channel))
    return table


def channel_index(table: Sequence[tuple[int, int]], shapes: Sequence[Shape]) -> Tensor:
    """The index of a `channel_map` on inputs of other spatial sizes (the inverse of `channel_map`)."""
    spatial = shapes[0][:-1]
    positions = torch.arange(_size(spatial))
    offsets = [sum(_size(s) for s in shapes[:i]) for i in range(len(shapes))]
    columns = [
        offsets[source] + channel + shapes[source][-1] * positions if source >= 0 else torch.full_like(positions, -1)
        for source, channel in table
    ]
    return torch.stack(columns, dim=-1).reshape(*spatial, len(table))


def _size(shape: Shape) -> int:
    return int(torch.Size(shape).numel())
