"""A spiking network as a function of one step, and that as a program."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from fastsnn.convert.graph import Function, Graph, Input, Neuron, Potential
from fastsnn.convert.lower import lower
from fastsnn.convert.maxpool import apply_policy
from fastsnn.convert.moves import settled
from fastsnn.convert.quantise import to_precision
from fastsnn.convert.report import describe
from fastsnn.convert.rules.call import Refusal
from fastsnn.errors import ConversionError
from fastsnn.fuse import norse, own, sinabs, snntorch, spikingjelly
from fastsnn.fuse.mark import Mark
from fastsnn.fuse.network import FusedNetwork
from fastsnn.fuse.spec import Seen, Spec
from fastsnn.neurons import IF
from fastsnn.program import Program

KNOWN: tuple[ModuleType, ...] = (own, spikingjelly, snntorch, norse, sinabs)
LIBRARIES = {library.PACKAGE: library for library in KNOWN}


@dataclass(frozen=True)
class Found:
    """A module of a library: its path, itself, what it is."""

    path: str
    module: nn.Module
    what: Seen


def library_of(module: nn.Module) -> ModuleType | None:
    """The library that a module's class is from, among those that are known; it need not be imported for that."""
    return LIBRARIES.get(type(module).__module__.partition(".")[0])


def found(model: nn.Module) -> Iterator[Found]:
    """The modules of a network that a library has something to say of, not looking into them."""
    inside: set[str] = set()
    for path, module in model.named_modules():
        library = library_of(module)
        if library is None or any(path.startswith(f"{outer}.") for outer in inside):
            continue
        try:
            what = library.seen(module)
        except Refusal as reason:
            what = Seen(stays=str(reason))
        if what is not None:
            inside |= {path} if what.instead is None else set()
            yield Found(path, module, what)


def marked(model: nn.Module) -> tuple[nn.Module, dict[str, Spec]]:
    """(a copy with a mark in place of each layer of neurons, what these are by name).

    Raises ConversionError where one cannot be run by kernels.
    """
    holder = nn.ModuleDict({"model": copy.deepcopy(model).eval()})
    spikingjelly.single_step(holder)
    specs: dict[str, Spec] = {}
    # what stands in place of a module may have others in it
    while waiting := list(found(holder)):
        replaced: set[str] = set()
        for each in waiting:
            if any(each.path.startswith(f"{outer}.") for outer in replaced):
                continue
            replaced.add(each.path)
            name = each.path.removeprefix("model").removeprefix(".") or type(model).__name__
            if each.what.stays:
                raise ConversionError(f"{name} ({type(each.module).__name__}): {each.what.stays}")
            if each.what.spec is not None:
                specs[name] = each.what.spec
            holder.set_submodule(each.path, instead(name, each.what))
    return holder["model"], specs


def instead(name: str, what: Seen) -> nn.Module:
    """What stands in place of a module while the network is traced."""
    if what.instead is not None:
        return what.instead
    return Mark(name, what.pair, what.shows, what.spec is not None and what.spec.silent, what.readout)


def fused(model: nn.Module, example: Tensor, precision: str, spikes: bool = False) -> FusedNetwork:
    """The network as one program, from an input of one step [B, C, *S]; `spikes`: which is 0 or 1.

    Raises ConversionError where it cannot be one: neurons that no kernel runs, an operator without a form over time.
    """
    copied, specs = marked(model)
    if not specs:
        raise ConversionError(f"{type(model).__name__} has no spiking neurons that are known")
    return fused_from(copied, specs, example, precision, type(model).__name__, spikes)


def fused_from(
    model: nn.Module, specs: Mapping[str, Spec], example: Tensor, precision: str, name: str, spikes: bool = False
) -> FusedNetwork:
    """The same of a network with marks in place of its neurons, and what these are by name; `name` is the report's."""
    from fastsnn.convert.capture import capture  # torch.export takes a second to import

    captured = capture(model, example)
    graph = _named(apply_policy(settled(captured.graph), "or"))
    for node in list(graph.nodes.values()):
        if isinstance(node.payload, Neuron) and node.payload.given is None:
            graph.nodes[node.name] = replace(node, payload=_each_step(node.name, node.payload.bound))
    if spikes:
        first = next(node for node in graph.nodes.values() if isinstance(node.payload, Input))
        graph.nodes[first.name] = replace(first, payload=Input(spiking=True))
    program = program_of(graph, specs, precision)
    device = example.device
    report = describe(program.given_as(timed=True), graph, f"{name}, {precision}", "or", head="after each step")
    return FusedNetwork(program.to(device), captured.rebuild, report)


def _each_step(name: str, bound: Tensor | None) -> Function:
    """A (clipped) ReLU between spiking neurons, which is one of each step. Raises ConversionError where its bound
    differs from channel to channel."""
    if bound is None:
        return Function("aten.relu.default", ([{"node": 0}], {}))
    if bound.numel() > 1:
        raise ConversionError(f"a clipped ReLU between spiking neurons needs one bound for all channels: {name}")
    return Function("aten.clamp.default", ([{"node": 0}, 0.0, bound.item()], {}))


def _named(graph: Graph) -> Graph:
    """Neurons under the names that they were given, where these are free."""
    names = {name: name for name in graph.nodes}
    for name, node in graph.nodes.items():
        given = node.payload.given if isinstance(node.payload, Neuron) else None
        if given is not None and given not in names.values():
            names[name] = given
    return graph.renamed(names)


def program_of(graph: Graph, specs: Mapping[str, Spec], precision: str) -> Program:
    """The program of a graph with neurons that are given."""
    given: dict[str, Any] = {}
    seen: set[Any] = set()
    for node in graph.nodes.values():
        payload = node.payload
        if not isinstance(payload, Neuron | Potential) or payload.given is None:
            continue
        name = payload.given
        if payload in seen:
            raise ConversionError(f"{name} is called more than once in a step: its state would be shared")
        seen.add(payload)
        if isinstance(payload, Neuron) and specs[name].silent:
            raise ConversionError(f"{name}: without a reset its spikes have no kernel; its potential has one")
        try:
            given[name] = specs[name].given((node.shape[-1], *node.shape[:-1]))
        except Refusal as reason:
            raise ConversionError(f"{name}: {reason}") from reason
    return to_precision(lower(graph, {}, IF(), given), precision, {})
