"""Functions of means of fixed-point numbers in the native module: what changes at each step, in one pass."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from fastsnn import _native


def takes(function: str, inputs: Sequence[Tensor]) -> bool:
    """Whether there is a kernel for numbers [T, B, *S, C]; of two, one may be the same at all positions."""
    if function != "product":
        return True
    large, small = sorted(inputs, key=Tensor.numel, reverse=True)
    alike = large.shape == small.shape
    gate = small.shape[:2] == large.shape[:2] and small.shape[-1] == large.shape[-1]
    return alike or (gate and small.numel() == small.shape[:2].numel() * small.shape[-1])


def changes(
    function: str, inputs: Sequence[Tensor], steps: Tensor, exponent: int, state: Sequence[Tensor] | None
) -> tuple[Tensor, list[Tensor]]:
    """What `FunctionLayer.over_time` gives, of what `takes` says yes to.

    function  as `fastsnn.ops._functions.named` calls it
    inputs    int32 [T, B, *S, C], contiguous
    steps     [T + 1] float64, contiguous
    state     sums int64 of each input, and what the function came to in float64, [B, *S, C]; None: no steps were before
    """
    first, *others = inputs
    swapped = bool(others) and others[0].numel() > first.numel()
    x, y = (others[0], first) if swapped else (first, others[0] if others else None)
    T, alone = len(x), y is None or y.shape == x.shape
    row = x[0].numel() if alone else x.shape[-1]
    sums = [torch.empty(value.shape[1:], dtype=torch.int64) for value in inputs]
    after = [*sums, torch.empty(x.shape[1:], dtype=torch.float64)]
    out = torch.empty_like(x)

    def places(tensors: Sequence[Tensor] | None) -> list[int]:
        if tensors is None:
            return [0, 0, 0]
        *own, last = (t.data_ptr() for t in tensors)
        return [*(own[::-1] if swapped else own), *[0] * (2 - len(own)), last]

    module = _native.load()
    module.changes(
        getattr(module.Function, function),
        x.data_ptr(),
        0 if y is None else y.data_ptr(),
        T,
        x[0].numel(),
        0 if y is None else y[0].numel(),
        row,
        1 if alone else prod(x.shape[2:-1]),
        2.0**exponent,
        steps.data_ptr(),
        places(state),
        places(after),
        out.data_ptr(),
        torch.get_num_threads(),
    )
    return out, after
