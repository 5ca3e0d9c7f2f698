"""Networks whose `forward` loops over the steps itself, with states as arguments: one step of them, and what is behind.

    for t in range(steps):
        spikes, mem = self.lif(self.fc(x), mem)        # or x[t]
        outputs.append(spikes)
    return torch.stack(outputs)

The loop is traced as it is, all steps written out. Marks in place of neurons ignore the states, so that no step depends
on another; what the first of them computes is the network of one step, once all are seen to compute the same.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_unflatten

from fastsnn.convert.movement import BATCH
from fastsnn.errors import ConversionError
from fastsnn.fuse.mark import Mark, potential, spiking
from fastsnn.fuse.network import FusedNetwork
from fastsnn.fuse.single import found, fused_from
from fastsnn.fuse.spec import Spec

SPIKING, POTENTIAL = spiking._opoverload, potential._opoverload
SELECT, STACK = torch.ops.aten.select.int, torch.ops.aten.stack.default


class FusedLoop(nn.Module):
    """What `fastsnn.fuse` makes of a network that loops over the steps itself, for inference only; called as that.

    It runs as many steps as the network did on the example. Potentials that the network returns are None.
    """

    def __init__(self, step: FusedNetwork, behind: fx.GraphModule, spec: Any, leaves: list[Any], held: bool, T: int):
        super().__init__()
        self.step, self.behind, self.spec, self.leaves, self.held, self.T = step, behind, spec, leaves, held, T
        self.report: Any = None
        super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Any:
        if not self.held and x.shape[0] != self.T:
            raise ValueError(f"this network was fused for {self.T} steps, got a sequence of {x.shape[0]}")
        outputs = self.step(x, self.T) if self.held else self.step(x)
        results = iter(self.behind(x, *outputs))
        return tree_unflatten([next(results) if kept else None for kept in self.leaves], self.spec)


def loops(model: nn.Module) -> bool:
    """Whether neurons of a network are given their states as arguments, and return them."""
    return any(each.what.states for each in found(model))


def unrolled(model: nn.Module, example: Tensor, precision: str) -> FusedLoop:
    """The network from an example of what its `forward` takes: a batch [B, ...] or a sequence [T, B, ...].

    Raises ConversionError where the steps are not alike, or one depends on another other than through neurons.
    """
    marked, specs = _marked(model)
    trace = _Trace(_export(marked, example))
    held = trace.held
    batch = example[:1] if held else example[:, :1]
    alone = torch.cat([batch] * BATCH, dim=0 if held else 1)
    trace = _Trace(_export(marked, alone))
    step = fused_from(trace.step(), specs, alone if held else alone[0], precision, type(model).__name__)
    behind, leaves = trace.behind()
    network = FusedLoop(step, behind, trace.spec, leaves, held, trace.T)
    try:
        network(example)
    except RuntimeError as error:
        name = type(model).__name__
        raise ConversionError(f"what {name} does with its outputs depends on the batch size: {error}") from error
    return network


def _marked(model: nn.Module) -> tuple[nn.Module, dict[str, Spec]]:
    marked, specs = copy.deepcopy(model).eval(), {}
    for each in list(found(marked)):
        if each.what.spec is None:
            raise ConversionError(f"{each.path} ({type(each.module).__name__}): {each.what.stays}")
        specs[each.path] = each.what.spec
        marked.set_submodule(each.path, Mark(each.path, each.what.pair, each.what.states))
    return marked, specs


def _export(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(model, (example,), strict=False).run_decompositions({})
    except Exception as error:  # torch.export raises many types; all mean that the loop cannot be traced
        reason = str(error).strip().split("\n")[0]
        raise ConversionError(f"{type(model).__name__} cannot be traced: {type(error).__name__}: {reason}") from error


class _Trace:
    """The written-out loop: which step each value belongs to, and what the loop hands on."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.module: fx.GraphModule = program.module(check_guards=False)
        self.spec = program.call_spec.out_spec
        self.nodes = list(self.module.graph.nodes)
        self.x = next(n for n in self.nodes if n.op == "placeholder")
        self.calls: dict[str, list[fx.Node]] = {}
        for node in self.nodes:
            if node.target is SPIKING:
                self.calls.setdefault(str(node.args[1]), []).append(node)
        counts = {name: len(calls) for name, calls in self.calls.items()}
        if len(set(counts.values())) != 1 or min(counts.values()) < 2:
            raise ConversionError(f"its neurons should all be called once in each of several steps, got {counts}")
        self.T = next(iter(counts.values()))
        self.order = {call: t for calls in self.calls.values() for t, call in enumerate(calls)}
        self.steps: dict[fx.Node, frozenset[int]] = {}
        for node in self.nodes:
            self.steps[node] = self._steps(node)
        self.texts: dict[Any, int] = {}
        self.results = tree_leaves(next(n for n in self.nodes if n.op == "output").args[0])
        self.handed = self._handed()

    @property
    def held(self) -> bool:
        """Whether every step sees the same input."""
        return not any(self._current(node) for node in self.nodes)

    def _current(self, node: fx.Node) -> bool:
        """Whether a value is the input of one step, x[t]."""
        return node.target is SELECT and node.args[:2] == (self.x, 0)

    def _steps(self, node: fx.Node) -> frozenset[int]:
        before = frozenset().union(*(self.steps[n] for n in node.all_input_nodes))
        if node in self.order:
            own = frozenset({self.order[node]})
            if not before <= own:
                raise ConversionError(f"{node.args[1]} reads what another step has computed")
            return own
        if self._current(node):
            return before | {int(node.args[2]) % self.T}  # type: ignore[arg-type]
        return before

    def _lost(self, node: fx.Node, known: dict[fx.Node, bool]) -> bool:
        """Whether a value depends on potentials, which nobody has."""
        if node not in known:
            known[node] = node.target is POTENTIAL or any(self._lost(n, known) for n in node.all_input_nodes)
        return known[node]

    def _handed(self) -> list[list[fx.Node]]:
        """For each step the values that something behind the loop reads, in the order of the loop."""
        lost: dict[fx.Node, bool] = {}
        found: list[list[fx.Node]] = [[] for _ in range(self.T)]
        for node in self.nodes:
            single = len(self.steps[node]) == 1
            read = any(len(self.steps[user]) > 1 for user in node.users) or node in self.results
            if single and read and not self._lost(node, lost):
                found[min(self.steps[node])].append(node)
        self.lost = {node for node in self.nodes if self._lost(node, lost)}
        if any(call.args[0] in self.lost for calls in self.calls.values() for call in calls):
            raise ConversionError("a potential is more than the state of its own neurons: it drives others")
        memo: dict[tuple[fx.Node, int], Any] = {}
        first = [self._signature(node, 0, memo) for node in found[0]]
        if not first:
            raise ConversionError("no step hands any spikes on")
        for t, handed in enumerate(found):
            if [self._signature(node, t, memo) for node in handed] != first:
                raise ConversionError(f"step {t} of its loop computes something else than step 0")
        return found

    def _signature(self, node: fx.Node, t: int, memo: dict[tuple[fx.Node, int], Any]) -> Any:
        """What a value of step t is computed from, without the step: a number, the same for the same text."""
        key = (node, t)
        if key not in memo:
            if self._current(node):
                text: Any = "x[t]"
            elif node.op in ("placeholder", "get_attr"):
                text = (node.op, str(node.target))
            else:
                parts = fx.map_arg((node.args, node.kwargs), lambda n: ("node", self._signature(n, t, memo)))
                text = (str(node.target), repr(parts))
            memo[key] = self.texts.setdefault(text, len(self.texts))
        return memo[key]

    def step(self) -> fx.GraphModule:
        """What the first step computes, from its input: the values that it hands on."""
        graph, values = fx.Graph(), {}
        x = graph.placeholder("x")
        for node in self._needed(self.handed[0]):
            if node is self.x or self._current(node):
                values[node] = x
            else:
                values[node] = graph.node_copy(node, values.__getitem__)
        graph.output(tuple(values[node] for node in self.handed[0]))
        return fx.GraphModule(self.module, graph)

    def behind(self) -> tuple[fx.GraphModule, list[bool]]:
        """What is computed of all steps: (a function of x and what is handed on; which results are known)."""
        graph, values = fx.Graph(), {}
        values[self.x] = graph.placeholder("x")
        for i in range(len(self.handed[0])):
            whole = graph.placeholder(f"handed{i}")
            for t, handed in enumerate(self.handed):
                values[handed[i]] = graph.call_function(SELECT, (whole, 0, t))
        known = [result for result in self.results if isinstance(result, fx.Node) and result not in self.lost]
        for node in self._needed(known, set(values)):
            values[node] = graph.node_copy(node, values.__getitem__)
        graph.output([values[node] for node in known])
        graph.eliminate_dead_code()
        return fx.GraphModule(self.module, graph), [result in known for result in self.results]

    def _needed(self, wanted: Iterable[fx.Node], given: Iterable[fx.Node] = ()) -> list[fx.Node]:
        """Nodes that some values are computed from, in order, down to those that are given or are x[t]."""
        given, needed, waiting = set(given), set(), list(wanted)
        while waiting:
            node = waiting.pop()
            if node in needed or node in given:
                continue
            needed.add(node)
            waiting += [] if self._current(node) else node.all_input_nodes
        return [node for node in self.nodes if node in needed]
