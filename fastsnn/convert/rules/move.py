"""Data movement of any kind becomes one Move node."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from fastsnn.convert import movement
from fastsnn.convert.graph import Affine, Move, Node
from fastsnn.convert.rules.call import SHAPELESS, Call, Refusal, per_sample
from fastsnn.convert.rules.loose import loosened

INFINITE = "it pads with infinite numbers, which has a spiking form only where a max pool behind it does so itself"


def move(call: Call, args: tuple, kwargs: dict) -> Any:
    """The operator M x + c: a Move for M, and a shift for what it brings in itself (padding, constants)."""
    leaves, spec = tree_flatten((args, kwargs))
    nodes = [leaf for leaf in leaves if isinstance(leaf, Node)]
    several = isinstance(call.node.meta["val"], list | tuple)

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        tensors = iter(inputs)
        new_args, new_kwargs = tree_unflatten([next(tensors) if isinstance(v, Node) else v for v in leaves], spec)
        results = call.target(*new_args, **new_kwargs)
        return list(results) if several else [results]

    shapes = [node.shape for node in nodes]
    shifts = run([torch.zeros_like(movement.numbered(shape, 0, 0)) for shape in shapes])
    if not all(bool(shift.isfinite().all()) for shift in shifts):
        raise Refusal(INFINITE)
    moves = movement.trace_movement(lambda ids: [a - b for a, b in zip(run(ids), shifts, strict=True)], shapes)
    if moves is None:
        if len(nodes) > 1 or any(bool(shift.any()) for shift in shifts):
            raise Refusal(SHAPELESS)
        return loosened(call, args, kwargs)
    results = []
    for (index, shape), shift in zip(moves, shifts, strict=True):
        same = len(nodes) == 1 and shape == nodes[0].shape and movement.is_identity(index, shape)
        result = nodes[0] if same else call.add(Move(index), *nodes, shape=shape)
        if bool(shift.any()):
            constant = Affine(torch.ones((), dtype=torch.float64), per_sample(shift, tuple(shift.shape[1:])))
            result = call.add(constant, result, shape=shape, suffix=".constant")
        results.append(result)
    return results if several else results[0]
