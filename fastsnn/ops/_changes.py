"""Functions of means of fixed-point numbers in the native module: what changes at each step.

Those that it has are one pass; of others it computes what they read and what their values change by.
"""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.ops._computed import Room, computed, new


def takes(function: str, inputs: Sequence[Tensor]) -> bool:
    """Whether there is a kernel for numbers [T, B, *S, C]; of two, one may be the same at all positions."""
    if function != "product":
        return True
    large, small = sorted(inputs, key=Tensor.numel, reverse=True)
    alike = large.shape == small.shape
    gate = small.shape[:2] == large.shape[:2] and small.shape[-1] == large.shape[-1]
    return alike or (gate and small.numel() == small.shape[:2].numel() * small.shape[-1])


def changes(
    function: str,
    inputs: Sequence[Tensor],
    steps: Tensor,
    exponent: int,
    state: Sequence[Tensor] | None,
    room: Room = new,
) -> tuple[Tensor, list[Tensor]]:
    """What `FunctionLayer.over_time` gives, of what `takes` says yes to.

    function  as `fastsnn.ops._functions.named` calls it
    inputs    int32 [T, B, *S, C], contiguous
    steps     [T + 1] float64, contiguous
    state     sums int64 of each input, and what the function came to in float64, [B, *S, C]; None: no steps were before
    room      gives memory for the numbers
    """
    first, *others = inputs
    swapped = bool(others) and others[0].numel() > first.numel()
    x, y = (others[0], first) if swapped else (first, others[0] if others else None)
    T, alone = len(x), y is None or y.shape == x.shape
    row = x[0].numel() if alone else x.shape[-1]
    sums = [torch.empty(value.shape[1:], dtype=torch.int64) for value in inputs]
    after = [*sums, torch.empty(x.shape[1:], dtype=torch.float64)]
    out = room(tuple(x.shape), x.dtype)

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


def changes_by(
    function: Callable[[list[Tensor]], Tensor],
    inputs: Sequence[Tensor],
    steps: Tensor,
    exponent: int,
    state: Sequence[Tensor] | None,
    room: Room = new,
    give_back: Callable[[Tensor], None] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The same of any function, which is given means [T * B, *S, C] float64 of each input, and gives as many values.

    give_back  is given what came from `room` and nobody will read again
    """
    module, threads, scale = _native.load(), torch.get_num_threads(), 2.0**exponent
    lead, given, after = inputs[0].shape[:2], [], []
    T = lead[0]
    for i, x in enumerate(inputs):
        means = room(tuple(x.shape), torch.float64)
        after.append(torch.empty(x.shape[1:], dtype=torch.int64))
        places = [steps.data_ptr(), 0 if state is None else state[i].data_ptr(), after[-1].data_ptr()]
        module.means(x.data_ptr(), T, x[0].numel(), scale, *places, means.data_ptr(), threads)
        given.append(means.flatten(0, 1))
    (values,) = computed(lambda: [function(given).unflatten(0, lead)], room)
    out = room(tuple(values.shape), torch.int32)
    after.append(torch.empty(values.shape[1:], dtype=torch.float64))
    places = [steps.data_ptr(), 0 if state is None else state[-1].data_ptr(), after[-1].data_ptr()]
    module.differences(values.data_ptr(), T, values[0].numel(), scale, *places, out.data_ptr(), threads)
    if give_back is not None:
        for done in (*given, values):
            give_back(done)
    return out, after
