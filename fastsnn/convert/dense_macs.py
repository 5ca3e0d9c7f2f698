"""How many multiplications a layer of the converted network stands for in the dense one."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastsnn.convert.graph import Conv, Function, Graph, Linear, Move, Node
from fastsnn.program.connections import conv_fan_out, conv_macs, linear_fan_out
from fastsnn.program.function import products


@dataclass(frozen=True)
class Macs:
    """Of one image: between numbers that exist, and with those that only meet padding, as most tools count."""

    existing: int
    with_borders: int


class DenseMacs:
    """Counts convolutions, linear layers and products of values, each once, however many layers it became part of."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self._counted = graph, set[str]()

    def of(self, names: Iterable[str]) -> Macs:
        """Of the named nodes that were not counted before."""
        fresh = [name for name in dict.fromkeys(names) if name in self.graph.nodes and name not in self._counted]
        self._counted.update(fresh)
        found = [self._node(self.graph.nodes[name]) for name in fresh]
        return Macs(sum(m.existing for m in found), sum(m.with_borders for m in found))

    def _node(self, node: Node) -> Macs:
        if isinstance(node.payload, Linear):
            return Macs(int(linear_fan_out(node.payload.weight).sum()), node.payload.weight.numel())
        if isinstance(node.payload, Function):
            shapes = [self.graph.nodes[name].shape for name in node.inputs]
            found = products(node.payload.operator, node.payload.arguments[0], shapes, node.shape)
            return Macs(found, found)
        if not isinstance(node.payload, Conv):
            return Macs(0, 0)
        conv, source = node.payload, self.graph.nodes[node.inputs[0]]
        geometry = (source.shape[:-1], conv.weight, conv.stride, conv.padding, conv.dilation, conv.groups)
        there = source.payload.index >= 0 if isinstance(source.payload, Move) else None
        if there is None or not _gaps(there.any(-1)):
            return Macs(*conv_macs(*geometry))
        # a transposed convolution: nobody multiplies with the zeros that were put in
        existing = int(conv_fan_out(*geometry)[there].sum())
        positions = torch.Size(self.graph.nodes[source.inputs[0]].shape[:-1]).numel()
        return Macs(existing, positions * conv.weight.numel())


def _gaps(there: Tensor) -> bool:
    """Whether there are gaps between positions [*S] that are there, and not only around them."""
    spans = [int(places.max() - places.min()) + 1 for places in there.nonzero().T if places.numel()]
    return bool(there.any()) and int(there.sum()) < torch.Size(spans).numel()
