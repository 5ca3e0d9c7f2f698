"""Data movement behind what is done to each element alike, where it meets other movement and cancels.

A linear layer over tokens is a convolution between two transpositions. Neurons behind it would read numbers that were
moved; moved behind the neurons, the transposition is one of spikes, and gone where another linear layer reads them.
"""

import torch
from torch import Tensor

from fastsnn.convert import movement
from fastsnn.convert.graph import Add, Affine, Function, Graph, Move, Neuron, Node, reduced
from fastsnn.convert.rules.function import ELEMENTWISE
from fastsnn.program.operators import short
from fastsnn.windows import Shape


def settled(graph: Graph) -> Graph:
    """The graph with permutations as far behind as they can be. Neurons that are given stay where they are, since
    somebody knows them by their places."""
    return _Settling(graph).run()


class _Settling:
    def __init__(self, graph: Graph) -> None:
        self.old, self.new = graph, Graph()
        self.names: dict[str, str] = {}

    def run(self) -> Graph:
        for node in self.old.nodes.values():
            self.names[node.name] = self.visit(node, [self.new.nodes[self.names[n]] for n in node.inputs])
        self.new.outputs = [self.names[name] for name in self.old.outputs]
        return self.new.pruned()

    def visit(self, node: Node, inputs: list[Node]) -> str:
        """The name of the value in the new graph."""
        if isinstance(node.payload, Move):
            return self.moved(node, inputs)
        orders = [self.order(source) for source in inputs]
        first = orders[0] if orders else None
        if first is None or not all(order is not None and torch.equal(order, first) for order in orders):
            return self.kept(node, inputs)
        shape = self.new.nodes[inputs[-1].inputs[0]].shape
        payload = self.before(node, first, shape)
        if payload is None:
            return self.kept(node, inputs)
        sources = tuple(self.shaped(self.new.nodes[source.inputs[0]], shape, node).name for source in inputs)
        inner = self.new.add(node.name, payload, sources, shape, node.origin)
        index = first.reshape(node.shape)
        return self.new.add(f"{node.name}.moved", Move(index), (inner.name,), node.shape, node.origin).name

    def moved(self, node: Node, inputs: list[Node]) -> str:
        """A movement, in one with the permutation in front of it."""
        if len(inputs) > 1 or (before := self.order(inputs[0])) is None or not isinstance(node.payload, Move):
            return self.kept(node, inputs)
        after = node.payload.index.flatten()
        if not _permutes(after, before.numel()):
            return self.kept(node, inputs)
        source = self.new.nodes[inputs[0].inputs[0]]
        both = before[after]
        if node.shape == source.shape and movement.is_identity(both, source.shape):
            return source.name
        return self.new.add(node.name, Move(both.reshape(node.shape)), (source.name,), node.shape, node.origin).name

    def order(self, node: Node) -> Tensor | None:
        """Which element of its one source each of a permutation is, [n]; None of anything else."""
        if not isinstance(node.payload, Move) or len(node.inputs) > 1:
            return None
        index = node.payload.index.flatten()
        size = torch.Size(self.new.nodes[node.inputs[0]].shape).numel()
        return index if _permutes(index, size) else None

    def before(self, node: Node, order: Tensor, shape: Shape) -> Affine | Add | Neuron | Function | None:
        """What does to elements of `shape` that which a node does to them in an order; None where nothing does."""
        match node.payload:
            case Affine(scale, shift):

                def back(values: Tensor) -> Tensor:
                    flat = torch.empty(order.numel(), dtype=values.dtype)
                    flat[order] = values.expand(node.shape).reshape(-1)
                    return reduced(flat.reshape(shape), shape)

                return Affine(back(scale), back(shift))
            case Add():
                return node.payload
            case Neuron(bound, None):
                return node.payload if bound is None or bound.numel() == 1 else None
            case Function(operator):
                alone = len(node.inputs) == 1 and short(operator) in ELEMENTWISE
                return node.payload if alone else None
        return None

    def shaped(self, node: Node, shape: Shape, reader: Node) -> Node:
        """A value in another shape, its elements in their order."""
        if node.shape == shape:
            return node
        index = torch.arange(torch.Size(shape).numel()).reshape(shape)
        return self.new.add(f"{reader.name}.view", Move(index), (node.name,), shape, reader.origin)

    def kept(self, node: Node, inputs: list[Node]) -> str:
        return self.new.add(node.name, node.payload, tuple(n.name for n in inputs), node.shape, node.origin).name


def _permutes(index: Tensor, size: int) -> bool:
    """Whether an index has every element of a value of that size, once."""
    return index.numel() == size and torch.equal(index.sort().values, torch.arange(size))
