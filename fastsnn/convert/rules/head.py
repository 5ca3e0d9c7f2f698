"""Functions that may only follow the mean output."""

from typing import Any

from fastsnn.convert.graph import Head, Node
from fastsnn.convert.rules.call import Call


def head(call: Call, x: Node, dim: int, *rest: Any) -> Node:
    return call.add(Head(call.operator.strip("_"), dim % (len(x.shape) + 1)), x)


def sigmoid(call: Call, x: Node) -> Node:
    return call.add(Head("sigmoid", 0), x)
