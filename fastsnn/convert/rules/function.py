"""Operators that no spikes carry: smooth activations, gates, products of two values."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from fastsnn.convert.graph import Function, Node, Refused
from fastsnn.convert.rules.call import SHAPELESS, Call, Refusal
from fastsnn.program.operators import Place, plain

# of one value, each element by itself
ELEMENTWISE = {"silu", "gelu", "hardswish", "hardsigmoid", "sigmoid", "log_sigmoid", "tanh", "elu", "selu", "celu"}
ELEMENTWISE |= {"mish", "softplus", "square", "abs", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal"}
ELEMENTWISE |= {"sin", "cos", "erf", "pow"}


def function(call: Call, *args: Any, **kwargs: Any) -> Node:
    """The operator itself, of one value or of several that have as many dimensions."""
    nodes = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Node)]
    if len({len(node.shape) for node in nodes}) > 1:
        raise Refusal(SHAPELESS)
    if any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
        raise Refusal(f"{call.operator} of a value and a constant has no spiking form")
    places = iter(range(len(nodes)))
    given, named = tree_map_only(Node, lambda _: Place(next(places)), (args, kwargs))
    arguments = (plain(given), {name: plain(value) for name, value in named.items()})
    return call.add(Function(str(call.target), arguments), *nodes)


def over(call: Call, x: Node, *args: Any, **kwargs: Any) -> Node:
    """One over dimensions of each sample, such as softmax or a norm."""
    schema = [argument.name for argument in call.node.target._schema.arguments[1:]]  # type: ignore[union-attr]
    dims = (dict(zip(schema, args, strict=False)) | kwargs).get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or any(dim % (len(x.shape) + 1) == 0 for dim in dims):
        raise Refusal(SHAPELESS)
    return function(call, x, *args, **kwargs)


def largest(call: Call, x: Node, k: int, dim: int = -1, *rest: Any) -> list[Node]:
    """The k largest values of a dimension of each sample."""
    indices = call.add(Refused("the indices of the largest values have no spiking form"), x, suffix=".indices")
    return [over(call, x, k, dim, *rest), indices]


def product(call: Call, x: Node, y: Node) -> Node:
    """Of two matrices in each sample."""
    if len(x.shape) < 2:
        raise Refusal(SHAPELESS)
    return function(call, x, y)


def attention(call: Call, q: Node, k: Node, v: Node, mask: Any = None, dropout: float = 0.0, *rest: Any,
              **kwargs: Any) -> Node:  # fmt: skip
    if mask is not None or dropout:
        raise Refusal("attention with a mask or dropout is not supported")
    return function(call, q, k, v, None, 0.0, *rest, **kwargs)
