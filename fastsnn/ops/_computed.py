"""What torch computes between kernels, as a call that a recorded run makes again in its turn."""

from collections.abc import Callable

import torch
from torch import Tensor

from fastsnn import _native

# memory of a shape and dtype
Room = Callable[[tuple[int, ...], torch.dtype], Tensor]


def new(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype)


def computed(run: Callable[[], list[Tensor]], room: Room = new) -> list[Tensor]:
    """What `run` gives, contiguous, in memory from `room`; on a CPU with the native module.

    A recorded run makes the same call again, which finds the tensors that it reads where they were, and leaves its
    results where the first ones are.
    """
    found: list[Tensor] = []

    def call() -> None:
        results = run()
        if not found:
            # memory of its own, as kernels have it: what else reads it is seen while a run is recorded
            found.extend(room(tuple(result.shape), result.dtype) for result in results)
        for place, result in zip(found, results, strict=True):
            place.copy_(result)

    _native.load().Tape.make(call)
    return found
