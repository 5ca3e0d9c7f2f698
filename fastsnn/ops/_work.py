"""What one launch of a layer on a GPU computes and moves, from the tiles, grid and weights that it is launched with."""

from dataclasses import dataclass
from math import prod

import torch

from fastsnn.ops._layer_triton import TritonPlan
from fastsnn.ops._tiles import power
from fastsnn.spikes import word_dtype


@dataclass(frozen=True)
class Work:
    """operations (two a multiply-add, those on padding included) and bytes of device memory that are moved at least."""

    operations: int
    bytes: int


def work(plan: TritonPlan, batch: int, T: int, keep: bool = False) -> Work:
    """The work of T steps for `batch` images; with their potentials written where they are kept.

    Words and weights count once, however many tiles read them. Biases, thresholds and potentials that are read do not.
    """
    positions = batch * prod(plan.out)
    outputs, word = plan.shape[-1], word_dtype(T).itemsize
    # of each input that is read: its words, by its number
    sizes = {p.source: (*p.geometry[2:5], p.geometry[0] * plan.groups) for p in plan.products}
    sizes |= {look.source: (*look.geometry[1:4], outputs // look.geometry[10]) for look in plan.looks}
    moved = word * (batch * sum(map(prod, sizes.values())) + positions * outputs)
    weights = [p.weight for p in plan.products] + [look.weight for look in plan.looks]
    moved += sum(weight.numel() * weight.itemsize for weight in weights)
    moved += keep * positions * outputs * plan.dtype.itemsize
    operations, parts = 0, 0
    if plan.products:
        tile, steps = plan.tile_for(batch, T), power(T)
        P, grid = plan.grid(tile, positions, steps)
        parts = tile.parts
        rows = P * steps * tile.N * prod(grid)
        slices = sum(-(-p.length // (tile.K * parts)) for p in plan.products)
        operations += 2 * rows * slices * tile.K * plan.planes
        if parts == 1:
            operations += 2 * P * T * tile.N * prod(grid) * len(plan.looks)
        else:
            moved += 2 * parts * T * positions * outputs * torch.float32.itemsize
    if parts != 1:
        P, N, blocks = plan.neuron_grid(positions)
        operations += 2 * P * T * N * prod(blocks) * len(plan.looks)
    return Work(operations, moved)
