"""How many multiplications a layer of the converted network stands for in the dense one."""

from collections.abc import Iterable
from dataclasses import dataclass

from fastsnn.convert.graph import Conv, Graph, Linear, Node
from fastsnn.program.connections import conv_macs, linear_fan_out


@dataclass(frozen=True)
class Macs:
    """Of one image: between numbers that exist, and with those that only meet padding, as most tools count."""

    existing: int
    with_borders: int


class DenseMacs:
    """Counts convolutions and linear layers of a graph, each once, however many layers it became part of."""

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
        if not isinstance(node.payload, Conv):
            return Macs(0, 0)
        conv = node.payload
        sizes = self.graph.nodes[node.inputs[0]].shape[:-1]
        return Macs(*conv_macs(sizes, conv.weight, conv.stride, conv.padding, conv.dilation, conv.groups))
