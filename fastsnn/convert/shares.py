"""Weighted windows of spikes as sums of moved spikes: readers add a part of their weights for each.

Linear interpolation to twice the size multiplies four neighbours with 9, 3, 3 and 1 sixteenths, in another order at
each position: four movements of spikes, each with one weight, and no numbers at every step.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from fastsnn.convert.graph import Node, Window
from fastsnn.convert.sums import MOST_SPARSE, ONE, ZERO, Pending, Stored, Summand
from fastsnn.program import Layer, RouteLayer

# sums of a window's weights are one where they differ by less: they are rounded products and quotients
DECIMALS = 12


@dataclass(frozen=True)
class Share:
    """The part of every window that is one position times one weight: index [P_out], -1 for none."""

    index: Tensor
    weight: float


def shared(node: Node, window: Window, source: Stored, layers: dict[str, Layer]) -> Pending | None:
    """A window of spikes as a sum of layers, which are added.

    None where it would take too many, where nothing spikes, and where spikes can be counted, which is less to add.
    """
    layer = source.layer
    spikes = layer.spiking and source.unit.ndim < 2 and torch.equal(source.offset, ZERO)
    if not spikes or window.pooling is not None:
        return None
    found = shares(window, MOST_SPARSE)
    if found is None or (window.even and len(found) > 1):
        return None
    summands = []
    channels = torch.arange(layer.shape[-1])
    for k, share in enumerate(found):
        elements = torch.where(share.index[:, None] < 0, -1, share.index[:, None] * len(channels) + channels)
        # the operator is named, and its work counted, once
        folded = (node.name,) if k == 0 else ()
        name = f"{node.name}.{k}"
        layers[name] = route = RouteLayer(name, node.shape, folded, [layer], elements.reshape(node.shape))
        summands.append(Summand(None, Stored(route, source.unit), torch.full_like(ONE, share.weight), node.shape))
    return Pending(tuple(summands), ZERO, node.shape, ())


def shares(window: Window, most: int) -> list[Share] | None:
    """At most so many shares that add up to a window; None where it takes more, or weights are below zero.

    Each position lays its weights end to end, the largest first; wherever one ends at any position, a share does.
    """
    weight = torch.where(window.index < 0, 0.0, window.weight)
    if bool((weight < 0).any()):
        return None
    weight, order = weight.sort(1, descending=True)
    index = torch.where(weight > 0, window.index.gather(1, order), -1)
    ends = weight.cumsum(1).round(decimals=DECIMALS)
    cuts = [0.0, *ends[ends > 0].unique().tolist()]
    if not 1 < len(cuts) <= most + 1:
        return None
    past = torch.cat([index, torch.full((len(index), 1), -1)], 1)
    found = []
    for begin, end in pairwise(cuts):
        # how many weights end before it: the place of the one that covers it
        place = (ends < (begin + end) / 2).sum(1, keepdim=True)
        found.append(Share(past.gather(1, place).squeeze(1), end - begin))
    return found
