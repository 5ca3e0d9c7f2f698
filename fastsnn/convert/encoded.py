"""Neurons behind functions, where a convolution or a linear layer would otherwise read numbers at every step.

Values that are never below a bound b are spikes of neurons that are driven with them, less b:

    f = max(0, f - b) + b
"""

import math
from collections.abc import Set

import torch

from fastsnn.convert.bounds import bounds_of
from fastsnn.convert.graph import Add, Affine, Conv, Function, Graph, Linear, MaxPool, Move, Neuron, Node, Window


def encoded(graph: Graph) -> Graph:
    """The graph with neurons behind each function that has a lower bound and that linear layers read."""
    bounds, read = bounds_of(graph), _read_linearly(graph)
    new, names = Graph(), dict[str, str]()
    for node in graph.nodes.values():
        inputs = tuple(names[name] for name in node.inputs)
        added = new.add(node.name, node.payload, inputs, node.shape, node.origin)
        least = bounds[node.name][0]
        if isinstance(node.payload, Function) and node.name in read and math.isfinite(least):
            added = _spiking(new, added, least)
        names[node.name] = added.name
    new.outputs = [names[name] for name in graph.outputs]
    return new


def _read_linearly(graph: Graph) -> Set[str]:
    """Nodes that a convolution or a linear layer reads, itself or through what keeps sums of spikes sums."""
    read: set[str] = set()
    for node in reversed(graph.nodes.values()):
        passes = isinstance(node.payload, Add | Affine | MaxPool | Move | Window) and node.name in read
        if passes or isinstance(node.payload, Conv | Linear):
            read.update(node.inputs)
    return read


def _spiking(graph: Graph, node: Node, least: float) -> Node:
    """The value of a node as spikes, and what is never missing from it."""
    name, shape, origin = node.name, node.shape, f"spikes of {node.origin}"
    one, offset = torch.ones((), dtype=torch.float64), torch.tensor(least, dtype=torch.float64)
    if least:
        node = graph.add(f"{name}.above", Affine(one, -offset), (node.name,), shape, origin)
    node = graph.add(f"{name}.spikes", Neuron(), (node.name,), shape, origin)
    if least:
        node = graph.add(f"{name}.value", Affine(one, offset), (node.name,), shape, origin)
    return node
