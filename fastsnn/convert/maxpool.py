"""What becomes of max pooling, which has no exact linear form over time.

lateral   a window emits what the largest sum so far of an input grows by, or falls (LIPooling): after any step it has
          emitted what its most active input has
before    the pool moves before the neuron: the maximum of the currents, which is exact for constant currents
gate      a window passes on the spikes of the input that has spiked most so far
or        a window spikes where any of its inputs does
average   an average pool takes its place; equal to the trained network only if that was trained with it

A max pool in front of an activation is one behind it, where spikes are pooled: the largest of values is where they are
clipped as well. Any other of what is not made of spikes alone gives, as `lateral` and `gate`, what the largest sum so
far changes by; otherwise the largest number of each step.
"""

from fastsnn.convert import movement
from fastsnn.convert.graph import Affine, Graph, MaxPool, Move, Neuron, Node, Window
from fastsnn.windows import Pooling, Shape, window_index

POLICIES = ("lateral", "before", "gate", "average", "or")
DEFAULT = "lateral"
# of spikes
POOLED = ("lateral", "gate", "or")


def apply_policy(graph: Graph, policy: str) -> Graph:
    """The graph with every max pool in the form that `policy` asks for."""
    if policy not in POLICIES:
        raise ValueError(f"max_pool must be one of {', '.join(POLICIES)}, got {policy!r}")
    return _Rewriting(graph, policy).run()


class _Rewriting:
    def __init__(self, graph: Graph, policy: str) -> None:
        self.old, self.policy = graph, policy
        self.users, self.timed = graph.users(), graph.timed()
        # pools that stand in front of neurons which take their place, and what scales them -> the pool
        self.waiting: dict[str, tuple[Node, Pooling]] = {}
        for node in graph.nodes.values():
            if policy in POOLED and isinstance(node.payload, MaxPool):
                self.waiting |= dict.fromkeys(self.in_front(node), (node, node.payload.pooling))
        self.new = Graph()
        self.renamed: dict[str, Node] = {}
        # a neuron behind a pool -> the activation that it stands for
        self.activation: dict[str, str] = {}

    def run(self) -> Graph:
        for node in self.old.nodes.values():
            if node.name in self.waiting:
                continue
            if isinstance(node.payload, Neuron) and node.inputs[0] in self.waiting:
                self.renamed[node.name] = self.behind(node, *self.waiting[node.inputs[0]])
                continue
            inputs = tuple(self.renamed[name].name for name in node.inputs)
            if isinstance(node.payload, MaxPool):
                self.renamed[node.name] = self.pool(node, node.payload.pooling, self.renamed[node.inputs[0]])
            else:
                self.renamed[node.name] = self.new.add(node.name, node.payload, inputs, node.shape, node.origin)
        self.new.outputs = [self.renamed[name].name for name in self.old.outputs]
        return self.named(self.new.pruned())

    def in_front(self, pool: Node) -> tuple[str, ...]:
        """A pool of numbers that change over time, and what scales it, where only neurons read them; or nothing."""
        if pool.inputs[0] not in self.timed or self.spikes(pool.inputs[0]):
            return ()
        found: tuple[str, ...] = (pool.name,)
        if pool.name not in self.old.outputs and len(self.users[pool.name]) == 1:
            user = self.old.nodes[self.users[pool.name][0]]
            if isinstance(user.payload, Affine) and _rising(user.payload):
                found += (user.name,)
        if found[-1] in self.old.outputs:
            return ()
        readers = [self.old.nodes[name].payload for name in self.users[found[-1]]]
        return found if all(isinstance(p, Neuron) and p.given is None for p in readers) else ()

    def spikes(self, name: str) -> bool:
        """Whether something is made of spikes alone."""
        node = self.old.nodes[name]
        if isinstance(node.payload, Move | MaxPool | Affine):
            return all(map(self.spikes, node.inputs))
        return isinstance(node.payload, Neuron)

    def behind(self, neuron: Node, pool: Node, pooling: Pooling) -> Node:
        """Neurons in front of the pool that they stand behind, and the pool, of their spikes."""
        source, scaled = self.renamed[pool.inputs[0]], self.old.nodes[neuron.inputs[0]]
        if isinstance(scaled.payload, Affine):
            source = self.new.add(scaled.name, scaled.payload, (source.name,), source.shape, scaled.origin)
        fired = self.new.add(neuron.name, neuron.payload, (source.name,), source.shape, neuron.origin)
        return self.new.add(pool.name, MaxPool(pooling, self.policy), (fired.name,), pool.shape, pool.origin)

    def named(self, graph: Graph) -> Graph:
        """Neurons behind pools get the name of the activation that they stand for, where it is free."""
        names = {name: name for name in graph.nodes}
        for name, wanted in self.activation.items():
            if name in names and wanted not in names.values():
                names[name] = wanted
        return graph.renamed(names)

    def pool(self, node: Node, pooling: Pooling, source: Node) -> Node:
        if self.policy == "average":
            return self.new.add(node.name, _average(pooling, source.shape), (source.name,), node.shape, node.origin)
        moved = self.before(node, pooling, source) if self.policy == "before" else None
        if moved is not None:
            return moved
        payload = MaxPool(pooling, "dense" if self.policy == "before" else self.policy)
        return self.new.add(node.name, payload, (source.name,), node.shape, node.origin)

    def before(self, node: Node, pooling: Pooling, source: Node) -> Node | None:
        """The pool moved before the neurons that feed it, through channel-wise data movement; None where it cannot."""
        shape = (*node.shape[:-1], source.shape[-1])
        if isinstance(source.payload, Neuron):
            pool = self.new.add(node.name, MaxPool(pooling), source.inputs, shape, node.origin)
            neuron = self.new.add(f"{source.name}.pooled", source.payload, (pool.name,), shape, source.origin)
            self.activation[neuron.name] = self.activation.get(source.name, source.name)
            return neuron
        if not isinstance(source.payload, Move):
            return None
        parts = [self.new.nodes[name] for name in source.inputs]
        table = movement.channel_map(source.payload.index, [p.shape for p in parts])
        if table is None:
            return None
        pooled = []
        for part in parts:
            moved = self.before(node, pooling, part)
            if moved is None:
                return None
            pooled.append(moved)
        index = movement.channel_index(table, [p.shape for p in pooled])
        return self.new.add(node.name, Move(index), tuple(p.name for p in pooled), shape, node.origin)


def _rising(affine: Affine) -> bool:
    """Whether it does the same everywhere, and the largest value stays the largest."""
    return affine.scale.ndim < 2 and affine.shift.ndim < 2 and bool((affine.scale > 0).all())


def _average(pooling: Pooling, shape: Shape) -> Window:
    """The average pool of the same windows; padding does not count."""
    index, _ = window_index(
        shape[:-1], pooling.kernel, pooling.stride, pooling.padding, pooling.dilation, pooling.ceil_mode
    )
    valid = (index >= 0).double()
    alike = bool(valid.all()) and set(pooling.dilation) == {1} and not pooling.ceil_mode
    return Window(index, valid / valid.sum(1, keepdim=True), pooling if alike else None)
