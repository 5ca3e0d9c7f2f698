"""Convolutions with no neurons between them, and those of concatenated values, as convolutions of what spikes.

The decoder of a U-Net reads spikes of the encoder beside a transposed convolution of spikes: two convolutions of
spikes, and no numbers at every step.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch

from fastsnn.convert import movement
from fastsnn.convert.graph import Add, Conv, Graph, Move, Node, Window, reduced
from fastsnn.convert.sums import (
    MOST_SPARSE,
    ONE,
    ZERO,
    Pending,
    Stored,
    Summand,
    conv_term,
    depthwise,
    mapped,
    summands_of,
)
from fastsnn.windows import Shape

Value = Stored | Pending
# what one result of the inner convolution reads, for each of its channels: beyond it, few numbers at every step are
# less work than spikes that each go to all outputs of both
NARROWEST = 64
# weights of one convolution that does two, at most: 64 MiB of 32-bit numbers
LARGEST = 2**24


@dataclass(frozen=True)
class Composer:
    """Of one graph that is lowered: its values so far, who reads each node, and what neurons depend on."""

    graph: Graph
    values: Mapping[str, Value]
    users: Mapping[str, list[str]]
    driving: Set[str]

    def waits(self, node: Node) -> bool:
        """Whether a concatenation is left to the convolutions behind it, because there is a sum among its values."""
        payloads = [self.graph.nodes[n].payload if n in self.driving else None for n in self.users[node.name]]
        convs = [payload for payload in payloads if isinstance(payload, Conv)]
        sums = [name for name in node.inputs if isinstance(self.values.get(name), Pending)]
        if not sums or len(convs) < len(payloads) or self._widths(node) is None:
            return False
        return all(self._reads(name, conv) for name in node.inputs for conv in convs)

    def passes(self, name: str, value: Pending) -> bool:
        """Whether a sum goes on as it is, and is not kept: one reads it, or each reads what spikes in front of it."""
        if len(self.users[name]) == 1 or value.sparse:
            return True
        readers = [self.graph.nodes[user].payload for user in self.users[name] if user in self.driving]
        if not all(isinstance(payload, Conv | Add) for payload in readers) or len(value.summands) > MOST_SPARSE:
            return False
        convs = (payload for payload in readers if isinstance(payload, Conv))
        return all(_spikes(s.source) for s in value.summands) and all(composes(value, conv) for conv in convs)

    def behind(self, node: Node, outer: Conv) -> Pending | None:
        """A convolution in `driving` as one of what spikes in front of it; None where that is not possible."""
        (name,) = node.inputs
        before, names = self.graph.nodes[name], node.inputs
        widths = None if name in self.values else self._widths(before)
        if widths is not None:
            names = before.inputs
        elif not isinstance(self.values.get(name), Pending) or not self._reads(name, outer):
            return None
        parts = outer.weight.split(widths or [outer.weight.shape[1]], 1)
        summands: list[Summand] = []
        folded: list[str] = []
        bias = ZERO
        for name, weight in zip(names, parts, strict=True):
            conv, value = replace(outer, weight=weight), self.values[name]
            if isinstance(value, Pending):
                there = value.bias.expand(value.shape)[None].contiguous()
                bias = bias + conv_term(conv, name, node.shape, ONE, ONE)(there)[0]
                folded += value.folded
            summands += [_behind(conv, summand, node.shape) for summand in summands_of(value)]
        folded += [before.name] if widths is not None else []
        return Pending(tuple(summands), reduced(bias, node.shape), node.shape, (*folded, node.name))

    def pooled(self, node: Node, window: Window) -> Pending | None:
        """An average pool in `driving` of convolutions, as convolutions of what spikes in front; None where not."""
        value = self.values.get(node.inputs[0])
        if window.pooling is None or not isinstance(value, Pending):
            return None
        if not all(isinstance(summand.payload, Conv) for summand in value.summands):
            return None
        channels = node.shape[-1]
        pool = depthwise(window.weight.max(), window.pooling, channels)
        if channels * pool.weight.numel() > LARGEST:
            return None
        dense = torch.eye(channels, dtype=torch.float64).reshape(channels, channels, *[1] * len(pool.stride))
        return self.behind(node, replace(pool, weight=dense * pool.weight, groups=1))

    def _widths(self, node: Node) -> list[int] | None:
        """Channels of each input of a concatenation; None of anything else."""
        if not isinstance(node.payload, Move):
            return None
        shapes = [self.graph.nodes[name].shape for name in node.inputs]
        joined = [(i, c) for i, shape in enumerate(shapes) for c in range(shape[-1])]
        return [s[-1] for s in shapes] if movement.channel_map(node.payload.index, shapes) == joined else None

    def _reads(self, name: str, outer: Conv) -> bool:
        """Whether a convolution can read what spikes in front of a value."""
        value = self.values.get(name)
        if value is None or not composes(value, outer):
            return False
        return isinstance(value, Stored) or self.passes(name, value)


def composes(value: Value, outer: Conv) -> bool:
    """Whether a convolution of a value is one of what spikes in front of it, and that pays."""
    summands = summands_of(value)
    if outer.groups > 1 or len(summands) > MOST_SPARSE:
        return False
    inner = [s.payload for s in summands if isinstance(s.payload, Conv)]
    others = any(not isinstance(s.payload, Conv | None) for s in summands)
    if others or not all(fits(outer, conv) and _weights(outer, conv) <= LARGEST for conv in inner):
        return False
    read = sum(conv.weight[0].numel() for conv in inner)
    return all(_spikes(s.source) and s.scale.ndim < 2 for s in summands) and read <= NARROWEST * summands[0].shape[-1]


def fits(outer: Conv, inner: Conv) -> bool:
    """Whether there is one convolution that does `inner` and then `outer`.

    The padding of `outer` is of zeros: where it has some, there must be nothing beyond the results of `inner`.
    """
    if set(inner.stride) != {1} or inner.groups > 1:
        return False
    reach = [d * (k - 1) for d, k in zip(inner.dilation, inner.weight.shape[2:], strict=True)]
    return not any(outer.padding) or all(p >= r for p, r in zip(inner.padding, reach, strict=True))


def composed(outer: Conv, inner: Conv) -> Conv:
    """The one convolution that does `inner` and then `outer`, which fit."""
    kernels, sizes = (outer.weight.shape[2:], inner.weight.shape[2:]), _sizes(outer, inner)
    steps = tuple(zip(outer.dilation, inner.dilation, strict=True))
    weight = torch.zeros(outer.weight.shape[0], inner.weight.shape[1], *sizes, dtype=torch.float64)
    whole = (slice(None), slice(None))
    for first in product(*map(range, kernels[0])):
        for second in product(*map(range, kernels[1])):
            at = tuple(a * p + b * q for a, b, (p, q) in zip(first, second, steps, strict=True))
            weight[whole + at] += outer.weight[whole + first] @ inner.weight[whole + second]
    padding = tuple(p + q for p, q in zip(outer.padding, inner.padding, strict=True))
    return Conv(weight, outer.stride, padding, (1,) * len(sizes), 1)


def _weights(outer: Conv, inner: Conv) -> int:
    """How many the one convolution has."""
    return outer.weight.shape[0] * inner.weight.shape[1] * prod(_sizes(outer, inner))


def _sizes(outer: Conv, inner: Conv) -> list[int]:
    """The kernel of the one convolution."""
    sizes = zip(outer.weight.shape[2:], outer.dilation, inner.weight.shape[2:], inner.dilation, strict=True)
    return [(a - 1) * p + (b - 1) * q + 1 for a, p, b, q in sizes]


def _spikes(value: Stored) -> bool:
    """Whether it is plain spikes, whatever each channel's are worth."""
    return value.layer.spiking and len(value.layer.amplitudes) == 1 and max(value.unit.ndim, value.offset.ndim) < 2


def _behind(outer: Conv, summand: Summand, shape: Shape) -> Summand:
    """A convolution of a summand as one of its source."""
    inner = summand.payload
    if not isinstance(inner, Conv):
        return mapped(outer, summand, shape)
    scale = summand.scale.reshape(-1, *[1] * (inner.weight.ndim - 1))
    return Summand(composed(outer, replace(inner, weight=inner.weight * scale)), summand.source, ONE, shape)
