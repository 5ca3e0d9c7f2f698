"""Calls of adaptive_steps, from a seed: thresholds that move, on both sides of every block size."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Generator, Tensor

# of the authors, one part of the threshold left out, and steep
NUMBERS = (
    [0.03, 1.0, 1.0, 5.0, 1.0, 1.0],
    [0.3, 1.0, 1.0, 5.0, 0.2, 0.1],
    [0.0, 3.0, 0.5, 0.3, 2.0, 0.0],
    [1.0, 0.0, 2.0, 1.0, 6.0, 0.5],
)
STEPS = ((1, 1), (7, 21), (8, 86), (9, 129), (16, 43), (31, 22), (32, 85))
BIASES = ("none", "channel", "step", "all")


def adaptive_calls() -> Iterator[tuple[str, Callable[[Generator], tuple]]]:
    """Names of calls, and what makes their arguments."""
    for i, ((T, N), dtype) in enumerate((size, dtype) for size in STEPS for dtype in (torch.float32, torch.float64)):
        bias, first, constant = BIASES[(i + i // 4) % 4], 5 * (i % 3), i % 5 == 4
        name = f"T{T}-N{N}-{str(dtype).removeprefix('torch.')}-{bias}-after{first}" + "-constant" * constant
        yield name, partial(_arguments, T, (3, N), dtype, bias, first, constant, NUMBERS[i % 4])


def _arguments(
    T: int,
    shape: tuple[int, int],
    dtype: torch.dtype,
    bias: str,
    first: int,
    constant: bool,
    numbers: list[float],
    g: Generator,
) -> tuple:
    def drawn(*size: int) -> Tensor:
        return (150 * torch.randn(size, generator=g, dtype=torch.float64)).to(dtype)

    currents = drawn(1 if constant else T, *shape) + drawn(shape[-1]).abs()
    # what is always below the threshold, or far above, and what makes an exponential huge
    for n, value in enumerate((-70.0, 2500.0, -25000.0)):
        currents[..., n : shape[-1] : 17] = value
    sizes = {"channel": shape[-1:], "step": (T, 1, shape[-1]), "all": shape}
    v = torch.stack([drawn(*shape), first * drawn(*shape)]) if first else drawn(shape[-1])
    return currents, v, None if bias == "none" else drawn(*sizes[bias]), T, numbers, first
