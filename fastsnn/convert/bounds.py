"""Between which numbers the values of a graph lie, as far as its operators alone say so."""

import math
from collections.abc import Mapping

from torch import Tensor

from fastsnn.convert.graph import Add, Affine, Function, Graph, MaxPool, Move, Neuron, Node, Window
from fastsnn.program.operators import short

Bounds = tuple[float, float]
ANY: Bounds = (-math.inf, math.inf)
# of functions, whatever they are given: the least of silu is at -1.2785, of mish at -1.1924, of gelu at -0.7518
RANGES: Mapping[str, Bounds] = {
    "silu": (-0.2784645427611, math.inf),
    "gelu": (-0.1700412, math.inf),
    "hardswish": (-0.375, math.inf),
    "mish": (-0.3088435, math.inf),
    "selu": (-1.75809935, math.inf),
    "softplus": (0.0, math.inf),
    "square": (0.0, math.inf),
    "abs": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "sqrt": (0.0, math.inf),
    "rsqrt": (0.0, math.inf),
    "linalg_vector_norm": (0.0, math.inf),
    "var": (0.0, math.inf),
    "std": (0.0, math.inf),
    "erf": (-1.0, 1.0),
    "sin": (-1.0, 1.0),
    "cos": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
}


def bounds_of(graph: Graph) -> dict[str, Bounds]:
    """By the name of each node."""
    found: dict[str, Bounds] = {}
    for node in graph.nodes.values():
        found[node.name] = _bounds(node, [found[name] for name in node.inputs])
    return found


def _bounds(node: Node, inputs: list[Bounds]) -> Bounds:
    match node.payload:
        case Neuron(bound, None):
            return 0.0, math.inf if bound is None else bound.max().item()
        case Affine(scale, shift):
            low, high = _times(inputs[0], (scale.min().item(), scale.max().item()))
            return low + shift.min().item(), high + shift.max().item()
        case Add(coefficients):
            parts = [_times(b, (c, c)) for b, c in zip(inputs, coefficients, strict=True)]
            return sum(low for low, _ in parts), sum(high for _, high in parts)
        case Move(index):
            # what is moved in from nowhere is zero
            parts = inputs + [(0.0, 0.0)] * bool((index < 0).any())
            return min(low for low, _ in parts), max(high for _, high in parts)
        case MaxPool():
            return inputs[0]
        case Window(index, weight):
            return _window(inputs[0], weight.masked_fill(index < 0, 0))
        case Function(operator, arguments):
            name = short(operator)
            if name == "mul":
                return _times(*inputs)
            if name in ("elu", "celu"):
                given, named = arguments
                alpha = given[1] if len(given) > 1 else named.get("alpha", 1.0)
                return -abs(alpha), math.inf
            return RANGES.get(name, ANY)
    return ANY


def _times(x: Bounds, y: Bounds) -> Bounds:
    # no value is infinite, so that nothing times 0 is 0
    corners = [0.0 if a == 0 or b == 0 else a * b for a in x for b in y]
    return min(corners), max(corners)


def _window(x: Bounds, weight: Tensor) -> Bounds:
    if not bool((weight >= 0).all()):
        return ANY
    sums = weight.sum(1)
    corners = [_times(x, (value, value)) for value in (sums.min().item(), sums.max().item())]
    return min(low for low, _ in corners), max(high for _, high in corners)
