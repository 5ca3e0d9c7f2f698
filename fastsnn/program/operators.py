"""Operators of ATen by name, and what they are given as plain data: for functions that files hold."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

OPERATOR = re.compile(r"aten\.(\w+)\.(\w+)")
# that make a tensor of nothing but numbers; others without an input might read a file
MAKE = {"full", "zeros", "ones", "arange", "scalar_tensor", "empty"}
# what an argument may be beside numbers, texts and lists, by the name of its kind
NAMED = {"dtype": torch.dtype, "memory_format": torch.memory_format, "layout": torch.layout}


@dataclass(frozen=True)
class Place:
    """Where an argument is a value that comes from elsewhere, by its name or number."""

    of: int | str


@cache
def function(name: str) -> Any:
    """The operator of a name. Raises TypeError where it is none of ATen's, or may do more than compute."""
    found = OPERATOR.fullmatch(name)
    packet = getattr(torch.ops.aten, found[1], None) if found else None
    operator = getattr(packet, found[2], None) if found and packet is not None else None
    if found is None or operator is None:
        raise TypeError(f"no form in a file for the function {name}")
    reads = any("Tensor" in str(argument.type) for argument in operator._schema.arguments)
    if operator._schema.is_mutable or not (reads or found[1] in MAKE):
        raise TypeError(f"{name} does more than compute, which a file cannot ask for")
    return operator


def short(name: str) -> str:
    """What an operator is called whatever its overload, and whether or not it is torch's own twin of another."""
    return name.split(".")[1].strip("_")


def subscripts(equation: str) -> list[str]:
    """Of each operand of an einsum without an ellipsis, then of the result, which an equation need not have."""
    given, arrow, out = equation.replace(" ", "").partition("->")
    once = sorted(n for n in {*given} - {","} if given.count(n) == 1)
    return [*given.split(","), out if arrow else "".join(once)]


def plain(value: Any) -> Any:
    """An argument as data that JSON can hold. Raises TypeError where it has no such form."""
    if isinstance(value, Place):
        return {"node": value.of}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
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


def argument(data: Any, values: Mapping[str, Any] | Sequence[Any]) -> Any:
    """The argument that `plain` was given; `values` are those that its places name."""
    if isinstance(data, list):
        return [argument(part, values) for part in data]
    if not isinstance(data, dict):
        return data
    ((name, of),) = data.items()
    if name == "node":
        return values[of]
    if name == "float":
        return float(of)
    if name == "device":
        return torch.device(of)
    found = getattr(torch, of)
    if not isinstance(found, NAMED[name]):
        raise TypeError(f"no {name} is {of!r}")
    return found
