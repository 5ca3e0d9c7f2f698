"""What becomes of max pooling, which has no exact linear form over time.

before    the pool moves before the neuron: the maximum of the currents, which is exact for constant currents
gate      a window passes on the spikes of the input that has spiked most so far
or        a window spikes where any of its inputs does
average   an average pool takes its place; equal to the trained network only if that was trained with it
A max pool whose input is not made of spikes alone takes the largest number step by step, whatever the policy.
"""

from dataclasses import replace

import torch

from fastsnn.convert import movement
from fastsnn.convert.graph import Graph, MaxPool, Move, Neuron, Node, Window
from fastsnn.windows import window_index

POLICIES = ("before", "gate", "average", "or")


def apply_policy(graph: Graph, policy: str) -> Graph:
    """The graph with every max pool in the form that `policy` asks for."""
    if policy not in POLICIES:
        raise ValueError(f"max_pool must be one of {', '.join(POLICIES)}, got {policy!r}")
    return _Rewriting(graph, policy).run().pruned()


class _Rewriting:
    def __init__(self, graph: Graph, policy: str) -> None:
        self.old, self.policy = graph, policy
        self.new = Graph()
        self.renamed: dict[str, Node] = {}

    def run(self) -> Graph:
        for node in self.old.nodes.values():
            inputs = tuple(self.renamed[name].name for name in node.inputs)
            if isinstance(node.payload, MaxPool):
                self.renamed[node.name] = self.pool(node, self.renamed[node.inputs[0]])
            else:
                self.renamed[node.name] = self.new.add(node.name, node.payload, inputs, node.shape, node.origin)
        self.new.outputs = [self.renamed[name].name for name in self.old.outputs]
        return self.new

    def pool(self, node: Node, source: Node) -> Node:
        geometry = node.payload.pooling
        if self.policy == "average":
            index, _ = window_index(
                source.shape[:-1], geometry.kernel, geometry.stride, geometry.padding, geometry.dilation,
                geometry.ceil_mode,
            )  # fmt: skip
            valid = (index >= 0).double()
            whole = bool(valid.all()) and set(geometry.dilation) == {1} and not geometry.ceil_mode
            window = Window(index, valid / valid.sum(1, keepdim=True), geometry if whole else None)
            return self.new.add(node.name, window, (source.name,), node.shape, node.origin)
        if self.policy == "before":
            return self.before(node, source) or self.keep(node, source, "dense")
        return self.keep(node, source, self.policy)

    def keep(self, node: Node, source: Node, policy: str) -> Node:
        payload = replace(node.payload, policy=policy)
        return self.new.add(node.name, payload, (source.name,), node.shape, node.origin)

    def before(self, node: Node, source: Node) -> Node | None:
        """The pool moved before the neurons that feed it, through channel-wise data movement; None where it cannot."""
        if isinstance(source.payload, Neuron):
            inside = self.new.nodes[source.inputs[0]]
            shape = (*node.shape[:-1], inside.shape[-1])
            pool = self.new.add(f"{node.name}.current", MaxPool(node.payload.pooling), (inside.name,), shape, node.origin)
            return self.new.add(node.name, source.payload, (pool.name,), shape, node.origin)
        if not isinstance(source.payload, Move):
            return None
        parts = [self.new.nodes[name] for name in source.inputs]
        table = movement.channel_map(source.payload.index, [p.shape for p in parts])
        if table is None:
            return None
        pooled = [self.before(replace(node, shape=(*node.shape[:-1], p.shape[-1])), p) for p in parts]
        if any(p is None for p in pooled):
            return None
        index = movement.channel_index(table, [p.shape for p in pooled])
        inputs = tuple(p.name for p in pooled)
        return self.new.add(node.name, Move(index), inputs, tuple(index.shape), node.origin)
