"""Values whose samples do not come first: attention moves them behind tokens, or merges windows and heads with them.

Such a value is elements of a node, by number. Movement goes on with the numbers, until samples come first again. A
linear layer is one of the rows, each of which is of one sample; what else is done to samples that are merged with
windows is done to these as one more dimension.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from fastsnn.convert import movement
from fastsnn.convert.graph import Move, Node
from fastsnn.convert.rules.call import SHAPELESS, Call, Refusal
from fastsnn.convert.rules.function import ELEMENTWISE

Rule = Callable[..., Any]
EACH = ELEMENTWISE | {"relu", "dropout"}
# a dimension that is counted from the front is one further back where windows are one
DIMENSIONED = {"softmax", "_softmax", "log_softmax", "_log_softmax"}
MERGED = DIMENSIONED | {"mul", "div", "add", "sub", "matmul", "bmm", "scaled_dot_product_attention", "layer_norm"}


@dataclass(frozen=True, eq=False, repr=False)
class Loose:
    """ids   [..] which element of a node each is, from 1 on: of the second sample behind all of the first
    node  whose elements they are
    """

    node: Node
    ids: Tensor

    @classmethod
    def of(cls, node: Node) -> "Loose":
        """All elements of a node, in their order."""
        return cls(node, movement.numbered(node.shape, 1, int(torch.Size(node.shape).numel())))

    @property
    def size(self) -> int:
        return int(torch.Size(self.node.shape).numel())


class Elsewhere(Call):
    """An operator on values of another shape than a network calls it on; `logical` is that of its result."""

    def __init__(self, call: Call, logical: tuple[int, ...]) -> None:
        super().__init__(call.graph, call.node, call.operator, call.name, call.origin)
        self._logical = logical

    @property
    def logical(self) -> tuple[int, ...]:
        return self._logical


def loosened(call: Call, args: tuple, kwargs: dict) -> Any:
    """What movement leaves of a value, wherever its samples are then; one value, or a list."""
    return moved(call, *tree_map_only(Node, Loose.of, (args, kwargs)))


def moved(call: Call, args: tuple, kwargs: dict) -> Any:
    """Movement of one such value, by running the operator on the numbers."""
    values = _values(args, kwargs)
    if len(values) != 1 or not isinstance(value := values[0], Loose):
        raise Refusal(SHAPELESS)
    given, named = tree_map_only(Loose, lambda v: v.ids, (args, kwargs))
    out = call.target(*given, **named)
    # what was a view of memory in another order is one of numbers in theirs
    found = [ids.contiguous() for ids in ([out] if isinstance(out, Tensor) else out)]
    parts = [_settled(call, Loose(value.node, ids)) for ids in found]
    return parts[0] if isinstance(out, Tensor) else parts


def applied(call: Call, rule: Rule, args: tuple, kwargs: dict) -> Any:
    """An operator that is no movement, on such values."""
    if call.operator == "linear":
        return _rows(call, rule, *args, **kwargs)
    values = _values(args, kwargs)
    if call.operator in EACH and len(values) == 1 and isinstance(value := values[0], Loose):
        shape = (value.node.shape[-1], *value.node.shape[:-1])
        given, named = tree_map_only(Loose, lambda loose: loose.node, (args, kwargs))
        return Loose(rule(Elsewhere(call, shape), *given, **named), value.ids)
    windows = {len(value.ids) // movement.BATCH for value in values if isinstance(value, Loose)}
    if call.operator not in MERGED or any(isinstance(value, Node) for value in values):
        raise Refusal(SHAPELESS)
    apart = tree_map_only(Loose, lambda value: _apart(call, value), (args, kwargs))
    if len(windows) > 1:
        raise Refusal(SHAPELESS)
    given, named = list(apart[0]), apart[1]
    if call.operator in DIMENSIONED:
        dim = given[1] % (len(call.logical) + 1)
        if dim == 0:
            raise Refusal(SHAPELESS)
        given[1] = dim + 1
    return _together(rule(Elsewhere(call, (windows.pop(), *call.logical)), *given, **named))


def _values(*arguments: Any) -> list[Loose | Node]:
    return [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Loose | Node)]


def _settled(call: Call, value: Loose) -> Loose | Node:
    """A node again where samples come first."""
    index = movement.index_of(value.ids, value.size)
    if index is None:
        return value
    return call.add(Move(index), value.node, shape=tuple(index.shape))


def _apart(call: Call, value: Loose) -> Node:
    """[B * windows, ..] as a node [B, windows, ..]."""
    if value.ids.shape[0] % movement.BATCH:
        raise Refusal(SHAPELESS)
    index = movement.index_of(value.ids.unflatten(0, (movement.BATCH, -1)), value.size)
    if index is None:
        raise Refusal(SHAPELESS)
    return call.add(Move(index), value.node, shape=tuple(index.shape), suffix=".windows")


def _together(node: Node) -> Loose:
    """A node [B, windows, ..] as the value [B * windows, ..]."""
    return Loose(node, Loose.of(node).ids.flatten(0, 1))


def _rows(call: Call, rule: Rule, x: Any, weight: Any, bias: Any = None) -> Any:
    """A linear layer over the last dimension."""
    if not isinstance(x, Loose) or bool((x.ids <= 0).any()):
        raise Refusal(SHAPELESS)
    rows = x.ids.reshape(-1, x.ids.shape[-1])
    sample = (rows > x.size).long()
    own, number = sample[:, 0], torch.empty(len(rows), dtype=torch.int64)
    first, second = rows[own == 0], rows[own == 1]
    if not torch.equal(sample, own[:, None].expand_as(sample)) or not torch.equal(first + x.size, second):
        raise Refusal(SHAPELESS)
    for which in range(movement.BATCH):
        number[own == which] = torch.arange(len(first))
    index = first.T.contiguous().to(torch.int64) - 1
    # channels last: [features, rows] are rows as users see them, [B, rows, features]
    source = call.add(Move(index), x.node, shape=tuple(index.shape), suffix=".rows")
    out = rule(call, source, weight, bias)
    return _settled(call, Loose(out, Loose.of(out).ids[own, number].reshape(*x.ids.shape[:-1], -1)))
