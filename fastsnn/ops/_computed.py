"""What torch computes between kernels, as a call that a recorded run makes again in its turn."""

from collections.abc import Callable

import torch
from torch import Tensor

from fastsnn import _native

# memory of a shape and dtype
Room = Callable[[tuple[int, ...], torch.dtype], Tensor]


def new(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype)


def computed(run: Callable[[], list[Tensor]], room: Room | None = None) -> list[Tensor]:
    """What `run` gives, contiguous, in memory from `room` if that is given; on a CPU with the native module.

    A recorded run makes the same call again, which finds the tensors that it reads where they were, and leaves its
    results where the first ones are.
    """
    found: list[Tensor] = []

    def call() -> None:
        results = run()
        if not found:
            for result in results:
                place = result.contiguous() if room is None else room(tuple(result.shape), result.dtype).copy_(result)
                found.append(place)
            return
        for place, result in zip(found, results, strict=True):
            place.copy_(result)

    _native.load().Tape.make(call)
    return found
