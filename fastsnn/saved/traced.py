"""A traced function of tensors as plain data and tensors, and back: operators of ATen that compute, by name."""

from collections.abc import Mapping
from keyword import iskeyword
from operator import attrgetter, getitem
from typing import Any

from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map_only

from fastsnn.program.operators import Place, argument, function, plain

Data = dict[str, Any]
GETITEM = "getitem"


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
            _found(target)
        elif node.op not in ("placeholder", "output"):
            raise TypeError(f"no form in a file for {node.op} {target}")
        named = tree_map_only(fx.Node, lambda source: Place(source.name), (node.args, node.kwargs))
        args, kwargs = plain(named[0]), {name: plain(value) for name, value in named[1].items()}
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
        args = tuple(argument(value, values) for value in data["args"])
        kwargs = {name: argument(value, values) for name, value in data["kwargs"].items()}
        if op == "output":
            graph.output(args[0])
            continue
        if op == "get_attr":
            root.register_buffer(target, tensors[target])
        elif op not in ("placeholder", "call_function"):
            raise TypeError(f"no traced function has a {op!r}")
        called = _found(target) if op == "call_function" else target
        values[data["name"]] = graph.create_node(op, called, args, kwargs, data["name"])
    return fx.GraphModule(root, graph)


def _found(target: str) -> Any:
    return getitem if target == GETITEM else function(target)
