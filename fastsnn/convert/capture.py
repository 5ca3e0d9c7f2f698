"""How a PyTorch module becomes a graph: torch.export flattens it into ATen operators, `rules` reads each of them.

torch.export runs the module's own Python code, so every spelling of an operator (module, function, method, in place)
arrives as one and the same ATen operator, and shapes are known.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import OutputKind
from torch.utils._pytree import TreeSpec, tree_unflatten

from fastsnn.convert import movement, rules
from fastsnn.convert.graph import Graph, Input, Node, Refused, channels_last
from fastsnn.convert.padded import merge_padding
from fastsnn.convert.rules.call import SHAPELESS, operator_of
from fastsnn.convert.rules.loose import Loose
from fastsnn.convert.trace import traced
from fastsnn.errors import ConversionError

OUTPUT = "an output"


@dataclass(frozen=True)
class Rebuild:
    """List of outputs -> what the module returns: a tensor, tuple or dict, its numbers and Nones in their places."""

    leaves: list[Any]
    spec: TreeSpec

    def __call__(self, outputs: list[Any]) -> Any:
        if self.leaves == [OUTPUT] and self.spec.is_leaf():
            return outputs[0]
        found = iter(outputs)
        return tree_unflatten([next(found) if leaf == OUTPUT else leaf for leaf in self.leaves], self.spec)


@dataclass(frozen=True)
class Captured:
    """The network as a graph, outputs in order, and how its outputs go back into the structure the module returns."""

    graph: Graph
    rebuild: Rebuild


def capture(model: nn.Module, example: Tensor) -> Captured:
    """The graph of `model` in eval mode, for inputs shaped like `example` [B, ...]; the model is left untouched.

    Raises ConversionError with every node that has no spiking form, before anything is calibrated.
    """
    model = _copy(model).eval()
    batch = torch.cat([example[:1]] * movement.BATCH)
    program = traced(model, batch)
    merge_padding(program.graph)
    reader = _Reader(model, program, tuple(example.shape[1:]))
    graph = reader.read().pruned()
    reasons = {n.name: n.payload.reason for n in graph.nodes.values() if isinstance(n.payload, Refused)}
    refused = {name: reasons[name] for name in graph.nodes if reasons.get(name)}
    if refused:
        lines = [f"  {name} ({graph.nodes[name].origin}): {reason}" for name, reason in refused.items()]
        raise ConversionError(f"{len(refused)} node(s) of {type(model).__name__} cannot convert:\n" + "\n".join(lines))
    leaves = [OUTPUT if isinstance(v, Node) else v for v in reader.outputs]
    return Captured(graph, Rebuild(leaves, program.call_spec.out_spec))


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        raise ConversionError(
            f"{type(model).__name__} cannot be copied ({error}); if it uses weight_norm or spectral_norm, "
            "call torch.nn.utils.remove_weight_norm (remove_spectral_norm) on it first"
        ) from error


class _Reader:
    """Walks the exported graph once; `values` maps its nodes to names, constants, or lists of either."""

    def __init__(self, model: nn.Module, program: torch.export.ExportedProgram, shape: tuple[int, ...]) -> None:
        self.program = program
        self.graph = Graph()
        self.leaves = {name for name, module in model.named_modules() if not any(module.children())}
        self.values: dict[torch.fx.Node, Any] = {}
        self.shape = channels_last(shape)
        self.outputs: list[Any] = []

    def read(self) -> Graph:
        signature = self.program.graph_signature
        tensors = {**self.program.state_dict, **self.program.constants}
        targets = {s.arg.name: s.target for s in signature.input_specs if s.target is not None}
        for node in self.program.graph.nodes:
            if node.op == "placeholder" and node.name in targets:
                self.values[node] = rules.constant(tensors[targets[node.name]])
            elif node.op == "placeholder":
                self.values[node] = self.graph.add("input", Input(), (), self.shape, "input")
            elif node.op == "call_function":
                self.values[node] = self.call(node)
            elif node.op == "output":
                kinds = [spec.kind for spec in signature.output_specs]
                pairs = zip(node.args[0], kinds, strict=True)
                # the others are buffers and inputs that the module changes in place
                self.outputs = [self.output(v) for v, kind in pairs if kind == OutputKind.USER_OUTPUT]
        self.graph.outputs = [v.name for v in self.outputs if isinstance(v, Node)]
        return self.graph

    def output(self, value: Any) -> Any:
        """A node, or a number or None that the module returns besides."""
        found = self.values[value] if isinstance(value, torch.fx.Node) else value
        if isinstance(found, Tensor | list | Loose):
            reason = SHAPELESS if isinstance(found, Loose) else "this output does not depend on the input"
            found = self.graph.add("output", Refused(reason), (), (), "output")
        return found

    def call(self, node: torch.fx.Node) -> Any:
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda n: self.values[n])
        operator = operator_of(node)
        operator = "batch_norm" if operator == "_native_batch_norm_legit_no_training" else operator
        path = self.path(node)
        name = path if path in self.leaves and path else ".".join(filter(None, (path, operator)))
        origin = f"{operator} in {path or 'the top module'}"
        return rules.apply(self.graph, node, operator, name, origin, args, kwargs)

    def path(self, node: torch.fx.Node) -> str:
        stack = node.meta.get("nn_module_stack") or {}
        paths = [path for path, _ in stack.values()]
        return paths[-1].split("@")[0] if paths else ""
