"""`einsum`: of values, a function of each sample; of a value and a constant, a linear layer between two movements."""

from collections import Counter
from math import prod
from typing import Any

from torch import Tensor

from fastsnn.convert.graph import Node
from fastsnn.convert.rules.call import SHAPELESS, Call, Refusal, moved
from fastsnn.convert.rules.function import function
from fastsnn.convert.rules.linear import linear
from fastsnn.program.operators import subscripts

FORMS = "of einsum with a constant, linear layers are supported: what the two share is summed, and nothing else is"


def einsum(call: Call, equation: str, operands: list[Any], path: Any = None) -> Node:
    if "." in equation:
        raise Refusal("einsum with an ellipsis is not supported")
    *terms, out = subscripts(equation)
    values = [term for term, operand in zip(terms, operands, strict=True) if isinstance(operand, Node)]
    if {letters[:1] for letters in values} != {out[:1]} or any(out[0] in letters[1:] for letters in (*values, out)):
        raise Refusal(SHAPELESS)
    if len(values) == len(terms):
        return function(call, equation, list(operands))
    if len(terms) != 2:
        raise Refusal(FORMS)
    (x, read), (weight, given) = sorted(zip(operands, terms, strict=True), key=lambda pair: isinstance(pair[0], Tensor))
    return _linear(call, x, read[1:], weight, given, out[1:])


def _linear(call: Call, x: Node, read: str, weight: Tensor, given: str, out: str) -> Node:
    """Subscripts are those of dimensions without the samples'."""
    summed = [n for n in given if n in read and n not in out]
    kept, made = [n for n in read if n not in given], [n for n in given if n not in read]
    if Counter(out) != Counter(kept + made) or len({*read}) < len(read) or len({*given}) < len(given) or not summed:
        raise Refusal(FORMS)
    sizes = dict(zip(read, (x.shape[-1], *x.shape[:-1]), strict=True)) | dict(zip(given, weight.shape, strict=True))
    order = [1 + read.index(n) for n in kept + summed]
    rows = [prod(sizes[n] for n in kept)] if kept else []
    features = prod(sizes[n] for n in summed)
    x = moved(call, x, lambda ids: ids.permute(0, *order).reshape(len(ids), *rows, features), ".rows")
    matrix = weight.permute([given.index(n) for n in made + summed]).reshape(-1, features)
    y = linear(call, x, matrix)
    whole, back = [sizes[n] for n in kept + made], [1 + (kept + made).index(n) for n in out]
    return moved(call, y, lambda ids: ids.reshape(len(ids), *whole).permute(0, *back), ".ordered")
