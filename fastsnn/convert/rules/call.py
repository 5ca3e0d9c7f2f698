"""What every rule works with: the operator being read, its constants, and the nodes it adds."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from fastsnn.convert import movement
from fastsnn.convert.graph import Affine, Graph, Move, Node, Payload, channels_last, reduced

PRODUCT = "of products of matrices, those of two values and of a value with a matrix [K, O] behind it are supported"
RANDOM = "it draws random numbers, which a conversion would freeze"
SHAPELESS = "it changes the number of samples or mixes them"


class Refusal(Exception):
    """Raised by a rule with the reason; becomes a Refused node."""


def operator_of(node: torch.fx.Node) -> str:
    """The name of a node's operator, whatever its overload."""
    return getattr(node.target, "__name__", str(node.target)).split(".")[0]


class Call:
    """One operator being read: where its results go and what they are called."""

    def __init__(self, graph: Graph, node: torch.fx.Node, operator: str, name: str, origin: str) -> None:
        self.graph, self.node, self.operator, self.name, self.origin = graph, node, operator, name, origin

    def add(self, payload: Payload, *inputs: Node, shape: tuple[int, ...] | None = None, suffix: str = "") -> Node:
        shape = self.shape if shape is None else shape
        origin = f"{suffix[1:]} of {self.origin}" if suffix else self.origin
        return self.graph.add(self.name + suffix, payload, tuple(n.name for n in inputs), shape, origin)

    @property
    def target(self) -> Callable[..., Any]:
        """The operator itself."""
        return cast(Callable[..., Any], self.node.target)

    @property
    def logical(self) -> tuple[int, ...]:
        """Shape of the result as the module sees it, without the batch: (C, *S)."""
        value = self.node.meta["val"]
        value = value[0] if isinstance(value, list | tuple) else value
        return tuple(int(n) for n in value.shape[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        return channels_last(self.logical)


def constant(value: Tensor) -> Tensor:
    """A parameter or buffer as the rules use it: on the CPU, float64 where it is real."""
    value = value.detach().cpu()
    return value.double() if value.is_floating_point() else value


def parameter(value: Any, what: str) -> Tensor:
    if isinstance(value, Node):
        raise Refusal(f"{what} depends on the input")
    return value


def per_sample(value: Any, logical: tuple[int, ...]) -> Tensor:
    """A constant that broadcasts with [B, *logical], channels last, cut down to where it varies."""
    value = torch.as_tensor(value, dtype=torch.float64)
    full = value.expand(movement.BATCH, *logical)
    if not torch.equal(full[0], full[1]):
        raise Refusal("its constant differs from sample to sample")
    return reduced(full[0].movedim(0, -1) if len(logical) > 1 else full[0], channels_last(logical))


def affine(call: Call, x: Node, scale: Any = 1.0, shift: Any = 0.0) -> Node:
    logical = call.logical
    x = spread(call, x, logical)
    scale, shift = per_sample(scale, logical), per_sample(shift, logical)
    return call.add(Affine(scale, shift), x, shape=channels_last(logical))


def spread(call: Call, x: Node, logical: tuple[int, ...]) -> Node:
    """x, broadcast to a larger shape by data movement where needed."""
    if x.shape == channels_last(logical):
        return x
    return moved(call, x, lambda ids: ids.expand(movement.BATCH, *logical), ".expand")


def moved(call: Call, x: Node, run: Callable[[Tensor], Tensor], suffix: str) -> Node:
    """x after the data movement that `run` does to a tensor [B, C, *S]."""
    moves = movement.trace_movement(lambda ids: run(ids[0]), [x.shape])
    if moves is None:
        raise Refusal(SHAPELESS)
    ((index, shape),) = moves
    return call.add(Move(index), x, shape=shape, suffix=suffix)


def each(numbers: Any, dims: int) -> tuple[int, ...]:
    numbers = [numbers] if isinstance(numbers, int) else list(numbers)
    return tuple(numbers * dims if len(numbers) == 1 else numbers)


def column(values: Tensor, dims: int) -> Tensor:
    """[C] as [C, 1, ...], to broadcast over (C, *S)."""
    return values.reshape(-1, *[1] * dims)
