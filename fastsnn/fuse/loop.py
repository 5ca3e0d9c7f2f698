"""Networks whose `forward` loops over the steps itself, with states as arguments: one step of them, and what is behind.

    for t in range(steps):
        spikes, mem = self.lif(self.fc(x), mem)        # or x[t]
        outputs.append(spikes)
    return torch.stack(outputs)

The loop is traced as it is, all steps written out. What drives each neuron has to be computed alike in all of them, and
its state to come from its own call in the step before: then one step is a network, and what becomes of its spikes and
potentials is computed behind it, of all steps.
"""

import copy
from collections.abc import Iterable, Set
from operator import attrgetter, getitem
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_unflatten

from fastsnn.convert.movement import BATCH
from fastsnn.convert.trace import traced
from fastsnn.errors import ConversionError
from fastsnn.fuse.mark import potential, spiking
from fastsnn.fuse.network import FusedNetwork
from fastsnn.fuse.single import found, fused_from, instead
from fastsnn.fuse.spec import Spec

SPIKING, POTENTIAL = spiking._opoverload, potential._opoverload
SELECT, UNBIND = torch.ops.aten.select.int, torch.ops.aten.unbind.int
# of a state that is handed on, or of one that is nothing yet
SAME = {"detach", "alias", "clone", "lift_fresh_copy", "_to_copy", "contiguous"}
ZEROS = {"zeros", "zeros_like", "new_zeros"}


class FusedLoop(nn.Module):
    """What `fastsnn.fuse` makes of a network that loops over the steps itself, for inference only; called as that.

    It runs as many steps as the network did on the example.
    """

    def __init__(self, step: FusedNetwork, behind: fx.GraphModule, spec: Any, held: bool, T: int) -> None:
        super().__init__()
        self.step, self.behind, self.spec, self.held, self.T = step, behind, spec, held, T
        self.report: Any = None
        super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Any:
        if not self.held and x.shape[0] != self.T:
            raise ValueError(f"this network was fused for {self.T} steps, got a sequence of {x.shape[0]}")
        outputs = self.step(x, self.T) if self.held else self.step(x)
        return tree_unflatten(self.behind(x, *outputs), self.spec)

    def save(self, path: str | Path) -> Path:
        """Writes the whole network as one .safetensors file, see `fastsnn.saved.save`; `fastsnn.load` reads it."""
        from fastsnn.saved import save

        return save(self, path)


def loops(model: nn.Module) -> bool:
    """Whether neurons of a network are given their states as arguments, and return them."""
    return any(each.what.handed for each in found(model))


def unrolled(model: nn.Module, example: Tensor, precision: str) -> FusedLoop:
    """The network from an example of what its `forward` takes: a batch [B, ...] or a sequence [T, B, ...].

    Raises ConversionError where the steps are not alike, or one depends on another other than through neurons.
    """
    marked, specs = _marked(model)
    handed = {each.path for each in found(model) if each.what.handed}
    trace = _Trace(traced(marked, example), handed)
    held = trace.held
    batch = example[:1] if held else example[:, :1]
    alone = torch.cat([batch] * BATCH, dim=0 if held else 1)
    trace = _Trace(traced(marked, alone), handed)
    step = fused_from(trace.step(), specs, alone if held else alone[0], precision, type(model).__name__)
    network = FusedLoop(step, trace.behind(), trace.spec, held, trace.T)
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
        marked.set_submodule(each.path, instead(each.path, each.what))
    return marked, specs


class _Trace:
    """The written-out loop: which step each value belongs to, and what the loop hands on.

    names    neurons whose states the network hands on
    T        steps that are written out
    calls    of each neuron's spikes and potentials, one a step, but for a potential of the last that nobody reads
    order    which step a call is of
    steps    which steps a value is computed from
    results  what the network returns
    handed   what is read behind the loop: values that are computed alike, from each step that has them
    """

    def __init__(self, program: torch.export.ExportedProgram, names: Set[str]) -> None:
        self.module: fx.GraphModule = program.module(check_guards=False)
        self.spec = program.call_spec.out_spec
        self.nodes = list(self.module.graph.nodes)
        self.x = next(n for n in self.nodes if n.op == "placeholder")
        self.names = names
        self.calls: dict[tuple[str, ...], list[fx.Node]] = {}
        for node in self.nodes:
            if node.target in (SPIKING, POTENTIAL):
                self.calls.setdefault(_names(node), []).append(node)
        counts: dict[str, int] = {}
        for (name, *_), calls in self.calls.items():
            counts[name] = max(len(calls), counts.get(name, 0))
        self.T = max(counts.values(), default=0)
        whole = all(len(calls) + (key[0] in names) >= self.T for key, calls in self.calls.items())
        if self.T < 2 or set(counts.values()) != {self.T} or not whole:
            raise ConversionError(f"its neurons should all be called once in each of several steps, got {counts}")
        self.order = {call: t for calls in self.calls.values() for t, call in enumerate(calls)}
        self.steps: dict[fx.Node, frozenset[int]] = {}
        for node in self.nodes:
            self.steps[node] = self._steps(node)
        self.results = tree_leaves(next(n for n in self.nodes if n.op == "output").args[0])
        self.texts: dict[Any, int] = {}
        self.memo: dict[fx.Node, int] = {}
        self._require_alike()
        self.handed = self._handed()

    @property
    def held(self) -> bool:
        """Whether every step sees the same input."""
        return not any(self._current(node) for node in self.nodes)

    def _moment(self, node: fx.Node) -> int | None:
        """t, where a value is the input of one step: x[t], or what a loop over x gives."""
        if node.target is SELECT and node.args[:2] == (self.x, 0):
            return int(node.args[2]) % self.T  # type: ignore[arg-type]
        whole = node.args[0] if node.target is getitem else None
        if isinstance(whole, fx.Node) and whole.target is UNBIND and whole.args in ((self.x,), (self.x, 0)):
            return int(node.args[1])  # type: ignore[arg-type]
        return None

    def _current(self, node: fx.Node) -> bool:
        return self._moment(node) is not None

    def _steps(self, node: fx.Node) -> frozenset[int]:
        before = frozenset().union(*(self.steps[n] for n in _read(node)))
        if node in self.order:
            own = frozenset({self.order[node]})
            if not before <= own:
                raise ConversionError(f"{_names(node)[0]} reads what another step has computed")
            return own
        moment = self._moment(node)
        return before if moment is None else before | {moment}

    def _require_alike(self) -> None:
        """Raises ConversionError where a call is not driven as that of the first step, or its state is not its own."""
        for (name, *_), calls in self.calls.items():
            for t, call in enumerate(calls):
                if self._signature(call) != self._signature(calls[0]):
                    raise ConversionError(f"step {t} of its loop computes something else than step 0")
                if name not in self.names:
                    continue
                state = [self._origin(node) for node in _state(call)]
                before = [n for key, others in self.calls.items() if key[0] == name for n in others[t - 1 : t]]
                wanted = [node for node in before if node.target is POTENTIAL]
                if not (state == wanted != [] if t else all(map(self._nothing, state))):
                    what = f"what its call in step {t - 1} gave" if t else "nothing before the first step"
                    raise ConversionError(f"{name} is given another state than {what}")

    def _origin(self, node: fx.Node) -> fx.Node:
        while _operator(node) in SAME:
            node = node.all_input_nodes[0]
        return node

    def _nothing(self, node: fx.Node) -> bool:
        """Whether a value is zeros."""
        if node.op == "get_attr":
            return not bool(attrgetter(str(node.target))(self.module).any())
        return _operator(node) in ZEROS or bool(_operator(node) == "full" and node.args[1] == 0)

    def _handed(self) -> dict[int, list[fx.Node]]:
        """What something behind the loop reads of single steps: one and the same value, from each that has it."""
        found: dict[int, list[fx.Node]] = {}
        for node in self.nodes:
            if len(self.steps[node]) == 1:
                found.setdefault(self._signature(node), []).append(node)
        kept = {number: nodes for number, nodes in found.items() if any(map(self._leaves, nodes))}
        if not kept:
            raise ConversionError("no step hands any spikes on")
        return kept

    def _leaves(self, node: fx.Node) -> bool:
        """Whether a value of a step is read behind it."""
        users = (user for user in node.users if user not in self.order)
        return any(len(self.steps[user]) > 1 for user in users) or node in self.results

    def _signature(self, node: fx.Node) -> int:
        """What a value is computed from, without the step: a number, the same for the same text."""
        if node not in self.memo:
            if self._current(node):
                text: Any = "x[t]"
            elif node.op in ("placeholder", "get_attr"):
                text = (node.op, str(node.target))
            else:
                args = _without_state(node)
                parts = fx.map_arg((args, node.kwargs), lambda n: ("node", self._signature(n)))
                text = (str(node.target), repr(parts))
            self.memo[node] = self.texts.setdefault(text, len(self.texts))
        return self.memo[node]

    def step(self) -> fx.GraphModule:
        """What one step computes, from its input: the values that it hands on."""
        graph, made = fx.Graph(), dict[int, fx.Node]()
        x = graph.placeholder("x")
        wanted = [nodes[0] for nodes in self.handed.values()]
        for node in self._needed(wanted):
            number = self._signature(node)
            if node is self.x or self._current(node):
                made[number] = x
            elif number not in made:
                made[number] = graph.node_copy(node, lambda n: made.get(self._signature(n), x))
                made[number].args = _without_state(made[number])
        graph.output(tuple(made[number] for number in self.handed))
        return fx.GraphModule(self.module, graph)

    def behind(self) -> fx.GraphModule:
        """What is computed of all steps, as a function of x and what is handed on: a list."""
        graph, values = fx.Graph(), dict[fx.Node, Any]()
        values[self.x] = graph.placeholder("x")
        for i, nodes in enumerate(self.handed.values()):
            whole = graph.placeholder(f"handed{i}")
            for node in nodes:
                (t,) = self.steps[node]
                values[node] = graph.call_function(SELECT, (whole, 0, t))
        known = [result for result in self.results if isinstance(result, fx.Node)]
        for node in self._needed(known, set(values)):
            values[node] = graph.node_copy(node, values.__getitem__)
        graph.output([values[r] if isinstance(r, fx.Node) else r for r in self.results])
        graph.eliminate_dead_code()
        return fx.GraphModule(self.module, graph)

    def _needed(self, wanted: Iterable[fx.Node], given: Iterable[fx.Node] = ()) -> list[fx.Node]:
        """Nodes that some values are computed from, in order, down to those that are given or are x[t]."""
        given, needed, waiting = set(given), set(), list(wanted)
        while waiting:
            node = waiting.pop()
            if node in needed or node in given:
                continue
            needed.add(node)
            waiting += [] if self._current(node) else _read(node)
        return [node for node in self.nodes if node in needed]


def _names(call: fx.Node) -> tuple[str, ...]:
    """The name of the neurons, and what of them it is."""
    return tuple(str(arg) for arg in call.args if isinstance(arg, str))


def _state(call: fx.Node) -> list[fx.Node]:
    return next(list(arg) for arg in call.args if isinstance(arg, list | tuple))


def _without_state(node: fx.Node) -> tuple[Any, ...]:
    """The arguments of a node, those of a call without the state that it is given."""
    if node.target not in (SPIKING, POTENTIAL):
        return node.args
    return tuple([] if isinstance(arg, list | tuple) else arg for arg in node.args)


def _read(node: fx.Node) -> list[fx.Node]:
    """The nodes that a node is computed from."""
    found: dict[fx.Node, None] = {}
    fx.map_arg((_without_state(node), node.kwargs), lambda n: found.setdefault(n))
    return list(found)


def _operator(node: fx.Node) -> str:
    return getattr(node.target, "__name__", str(node.target)).split(".")[0]
