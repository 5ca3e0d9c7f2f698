"""Convolutions with no neurons between them, and those of concatenated values, as convolutions of what spikes.

The decoder of a U-Net reads spikes of the encoder beside a transposed convolution of spikes: two convolutions of
spikes, and no numbers at every step.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from fastsnn.convert import movement
from fastsnn.convert.graph import Conv, Graph, Move, Node, reduced
from fastsnn.convert.sums import ONE, ZERO, Pending, Stored, Summand, behind_each, conv_term, one_by_one

Value = Stored | Pending
# what one result of the inner convolution reads, for each of its channels: beyond it, few numbers at every step are
# less work than spikes that each go to all outputs of both
NARROWEST = 64


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
            if isinstance(value, Pending) and not value.sparse:
                (inner,) = value.summands
                there = value.bias.expand(value.shape)[None].contiguous()
                bias = bias + conv_term(conv, name, node.shape, ONE, ONE)(there)[0]
                folded += value.folded
                conv, value = composed(conv, _scaled(inner.payload, inner.scale)), inner.source
            summands += behind_each(conv, value, node.shape)
        folded += [before.name] if widths is not None else []
        return Pending(tuple(summands), reduced(bias, node.shape), node.shape, (*folded, node.name))

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
        if value is None or outer.groups > 1:
            return False
        if isinstance(value, Stored) or value.sparse:
            return all(map(_spikes, one_by_one(value)))
        if len(value.summands) > 1 or len(self.users[name]) > 1:
            return False
        (inner,) = value.summands
        return _spikes(inner.source) and inner.scale.ndim < 2 and fits(outer, inner.payload)


def fits(outer: Conv, inner: object) -> bool:
    """Whether there is one convolution that does `inner` and then `outer`, and it pays.

    The padding of `outer` is of zeros: where it has some, there must be nothing beyond the results of `inner`.
    """
    if not isinstance(inner, Conv) or set(inner.stride) != {1} or inner.groups > 1:
        return False
    if inner.weight[0].numel() > NARROWEST * len(inner.weight):
        return False
    reach = [d * (k - 1) for d, k in zip(inner.dilation, inner.weight.shape[2:], strict=True)]
    return not any(outer.padding) or all(p >= r for p, r in zip(inner.padding, reach, strict=True))


def composed(outer: Conv, inner: Conv) -> Conv:
    """The one convolution that does `inner` and then `outer`, which fit."""
    kernels = outer.weight.shape[2:], inner.weight.shape[2:]
    steps = tuple(zip(outer.dilation, inner.dilation, strict=True))
    sizes = [(a - 1) * p + (b - 1) * q + 1 for a, b, (p, q) in zip(*kernels, steps, strict=True)]
    weight = torch.zeros(outer.weight.shape[0], inner.weight.shape[1], *sizes, dtype=torch.float64)
    whole = (slice(None), slice(None))
    for first in product(*map(range, kernels[0])):
        for second in product(*map(range, kernels[1])):
            at = tuple(a * p + b * q for a, b, (p, q) in zip(first, second, steps, strict=True))
            weight[whole + at] += outer.weight[whole + first] @ inner.weight[whole + second]
    padding = tuple(p + q for p, q in zip(outer.padding, inner.padding, strict=True))
    return Conv(weight, outer.stride, padding, (1,) * len(sizes), 1)


def _spikes(value: Stored) -> bool:
    """Whether it is plain spikes, whatever each channel's are worth."""
    return value.layer.spiking and len(value.layer.amplitudes) == 1 and max(value.unit.ndim, value.offset.ndim) < 2


def _scaled(conv: Any, scale: Tensor) -> Conv:
    return replace(conv, weight=conv.weight * scale.reshape(-1, *[1] * (conv.weight.ndim - 1)))
