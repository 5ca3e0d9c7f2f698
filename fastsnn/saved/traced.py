"""A traced function of tensors as plain data and tensors, and back: operators of ATen that compute, by name."""

import math
import re
from collections.abc import Mapping
from keyword import iskeyword
from operator import attrgetter, getitem
from typing import Any

import torch
from torch import Tensor, fx, nn

Data = dict[str, Any]
OPERATOR = re.compile(r"aten\.(\w+)\.(\w+)")
# that make a tensor of nothing but numbers; others without an input might read a file
MAKE = {"full", "zeros", "ones", "arange", "scalar_tensor", "empty"}
GETITEM = "getitem"
# what an argument may be beside numbers, texts and lists, by the name of its kind
NAMED = {"dtype": torch.dtype, "memory_format": torch.memory_format, "layout": torch.layout}


def described(traced: fx.GraphModule) -> tuple[list[Data], dict[str, Tensor]]:
    """(its nodes as data that JSON can hold, the tensors that it reads, by name).

    Raises TypeError for a function of something else than operators of ATen.
    """
    nodes: list[Data] = []
    names: dict[str, str] = {}
    for node in traced.graph.nodes:
        target = str(node.target)
        if node.op == "get_attr":
            target = names.setdefault(target, f"tensor{len(names)}")
        elif node.op == "call_function":
            target = GETITEM if node.target is getitem else target
            _function(target)
        elif node.op not in ("placeholder", "output"):
            raise TypeError(f"no form in a file for {node.op} {target}")
        args, kwargs = _plain(node.args), {name: _plain(value) for name, value in node.kwargs.items()}
        nodes.append({"name": node.name, "op": node.op, "target": target, "args": args, "kwargs": kwargs})
    return nodes, {name: attrgetter(target)(traced) for target, name in names.items()}


def rebuilt(nodes: list[Data], tensors: Mapping[str, Tensor]) -> fx.GraphModule:
    """The function that `described` was given. Raises KeyError or TypeError for data that it did not give."""
    graph, values, root = fx.Graph(), dict[str, fx.Node](), nn.Module()
    for data in nodes:
        op, target = data["op"], data["target"]
        for name in (data["name"], *data["kwargs"], *([] if op == "call_function" else [target])):
            # they become names of a program
            if not name.isidentifier() or iskeyword(name):
                raise TypeError(f"{name!r} is no name")
        args = tuple(_value(value, values) for value in data["args"])
        kwargs = {name: _value(value, values) for name, value in data["kwargs"].items()}
        if op == "output":
            graph.output(args[0])
            continue
        if op == "get_attr":
            root.register_buffer(target, tensors[target])
        elif op not in ("placeholder", "call_function"):
            raise TypeError(f"no traced function has a {op!r}")
        function = _function(target) if op == "call_function" else target
        values[data["name"]] = graph.create_node(op, function, args, kwargs, data["name"])
    return fx.GraphModule(root, graph)


def _function(target: str) -> Any:
    """The operator of a name. Raises TypeError where it is none of ATen's, or may do more than compute."""
    if target == GETITEM:
        return getitem
    found = OPERATOR.fullmatch(target)
    packet = getattr(torch.ops.aten, found[1], None) if found else None
    operator = getattr(packet, found[2], None) if found and packet is not None else None
    if found is None or operator is None:
        raise TypeError(f"no form in a file for the function {target}")
    reads = any("Tensor" in str(argument.type) for argument in operator._schema.arguments)
    if operator._schema.is_mutable or not (reads or found[1] in MAKE):
        raise TypeError(f"{target} does more than compute, which a file cannot ask for")
    return operator


def _plain(value: Any) -> Any:
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    for name, kind in NAMED.items():
        if isinstance(value, kind):
            return {name: str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"no form in a file for an argument {value!r}")


def _value(data: Any, values: Mapping[str, fx.Node]) -> Any:
    if isinstance(data, list):
        return [_value(part, values) for part in data]
    if not isinstance(data, dict):
        return data
    ((name, text),) = data.items()
    if name == "node":
        return values[text]
    if name == "float":
        return float(text)
    if name == "device":
        return torch.device(text)
    found = getattr(torch, text)
    if not isinstance(found, NAMED[name]):
        raise TypeError(f"no {name} is {text!r}")
    return found
