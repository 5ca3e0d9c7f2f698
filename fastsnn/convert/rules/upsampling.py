"""Linear interpolation between positions: weighted sums of windows, dimension by dimension."""

from typing import Any

import torch
from torch import Tensor

from fastsnn.convert.graph import Node, Window
from fastsnn.convert.rules.call import Call
from fastsnn.convert.rules.pooling import crossed

# numbers that are interpolated at once to see with which weights
NUMBERS = 2**24


def interpolate(call: Call, x: Node, *args: Any) -> Node:
    """Any interpolation whose weights are products of one for each dimension and add up to 1."""
    index, weight = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.float64)
    for dim, size in enumerate(x.shape[:-1]):
        found = _along(call, x.shape[:-1], dim, args)
        width = int((found != 0).sum(1).max())
        # the largest in size are all that are not zero
        place = found.abs().topk(width, dim=1).indices.sort(1).values
        part = found.gather(1, place)
        index = crossed(index, torch.where(part != 0, place, -1), size)
        weight = (weight[:, None, :, None] * part[None, :, None, :]).flatten(2).flatten(0, 1)
    return call.add(Window(index, weight), x)


def _along(call: Call, sizes: tuple[int, ...], dim: int, args: tuple[Any, ...]) -> Tensor:
    """[outputs, inputs] float64 along one dimension: what the operator makes of a one at each place, the same along the
    others."""
    size, at_once = sizes[dim], max(NUMBERS // torch.Size(sizes).numel(), 1)
    spread = [1, -1, *(size if i == dim else 1 for i in range(len(sizes)))]
    columns = []
    for ones in torch.eye(size, dtype=torch.float64).split(at_once):
        image = ones.reshape(spread).expand(1, -1, *sizes)
        out = call.target(image, *args)[0].movedim(dim + 1, 1)
        columns.append(out.reshape(*out.shape[:2], -1)[..., 0])
    return torch.cat(columns).T
