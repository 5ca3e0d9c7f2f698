"""How many connections a linear map has, and how many start at each of its inputs: what a spike there reaches.

A connection is a weight that is not zero between two numbers that exist: taps that only meet padding are none.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from fastsnn.program.layers import CountLayer, Layer, MaxPoolLayer, RouteLayer
from fastsnn.program.terms import ConvTerm, LinearTerm, ScaleTerm, Term, WindowTerm
from fastsnn.windows import Shape


def fan_out(term: Term, source: Shape) -> Tensor:
    """Connections of a term that start at each element of its source: int64 [*S, C]."""
    if isinstance(term, ConvTerm):
        return conv_fan_out(source[:-1], term.weight, term.stride, term.padding, term.dilation, term.groups)
    if isinstance(term, LinearTerm):
        return linear_fan_out(term.weight)
    if isinstance(term, ScaleTerm):
        return (term.weight != 0).long().expand(source).cpu()
    if isinstance(term, WindowTerm):
        return window_fan_out(term.index, term.weight != 0, source)
    raise TypeError(f"connections of a {type(term).__name__} are not known")


def window_reach(pool: MaxPoolLayer | CountLayer, source: Shape) -> Tensor:
    """Windows of a pool that each of its inputs is in: int64 [*S, C]."""
    return window_fan_out(pool.index, torch.ones(*pool.index.shape, 1, dtype=torch.bool), source)


def window_fan_out(index: Tensor, there: Tensor, source: Shape) -> Tensor:
    """Of windows index [P, window], -1 for none, whose elements are there [P, window, C or 1]: int64 [*S, C]."""
    index, there = index.flatten().cpu(), there.flatten(0, 1).cpu().long()
    inside = index >= 0
    found = torch.zeros(prod(source[:-1]), there.shape[1], dtype=torch.int64)
    found.index_add_(0, index[inside], there[inside])
    return found.expand(-1, source[-1]).reshape(source)


def linear_fan_out(weight: Tensor) -> Tensor:
    """weight [O, K] -> int64 [K]."""
    return (weight != 0).sum(0).cpu()


def conv_fan_out(
    sizes: Shape,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Of a convolution with weight [O, C / groups, *kernel] over [*sizes, C]: int64 [*sizes, C]."""
    outputs, per_group, *kernel = weight.shape
    there = (weight != 0).reshape(groups, outputs // groups, per_group, *kernel).sum(1).flatten(0, 1)
    found = there.to("cpu", torch.float64)
    for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        # the dimension of taps in front is used up, that of positions comes behind
        found = torch.tensordot(found, _meets(size, k, s, p, d).double(), dims=([1], [1]))
    return found.movedim(0, -1).long().contiguous()


def conv_macs(
    sizes: Shape,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> tuple[int, int]:
    """Multiplications of a convolution of one image: between numbers that exist, and with those that meet padding."""
    connections = int(conv_fan_out(sizes, weight, stride, padding, dilation, groups).sum())
    geometry = zip(sizes, weight.shape[2:], stride, padding, dilation, strict=True)
    positions = prod((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in geometry)
    return connections, positions * weight.numel()


def spread(name: str, reached: Tensor, layers: dict[str, Layer]) -> dict[str, Tensor]:
    """Fan-out of a spiking layer's elements as fan-out of the neurons and gates whose spikes they are.

    Routes move spikes and add nothing: an element that is read in several places reaches what all of them reach.
    """
    layer = layers[name]
    if not isinstance(layer, RouteLayer):
        return {name: reached.reshape(layer.shape)}
    sizes = [prod(layers[source].shape) for source in layer.sources]
    flat = reached.flatten()
    if layer.index is not None:
        index = layer.index.flatten().cpu()
        joined = torch.zeros(sum(sizes), dtype=torch.int64)
        flat = joined.index_add(0, index[index >= 0], flat[index >= 0])
    found: dict[str, Tensor] = {}
    for source, part in zip(layer.sources, flat.split(sizes), strict=True):
        for root, more in spread(source, part, layers).items():
            found[root] = found[root] + more if root in found else more
    return found


def is_pooling(term: Term) -> bool:
    """Whether a term averages windows of each channel: equal weights within a channel, more than one position."""
    if isinstance(term, WindowTerm):
        return True
    if not isinstance(term, ConvTerm) or term.weight.shape[1] != 1 or term.weight.shape[0] != term.groups:
        return False
    taps = term.weight.flatten(1)
    return taps.shape[1] > 1 and torch.equal(taps, taps[:, :1].expand_as(taps))


def _meets(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """[size, kernel]: 1 where an output exists that a tap takes from a position."""
    outputs = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    start = torch.arange(size)[:, None] + padding - torch.arange(kernel)[None] * dilation
    return ((start % stride == 0) & (start >= 0) & (start < outputs * stride)).long()
