"""adaptive_steps in CUDA."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _cuda
from fastsnn.ops._repeated import biases, repeated
from fastsnn.ops.adaptive.reference import PLANES, scaled
from fastsnn.spikes import word_dtype


def adaptive_steps(
    currents: Tensor, v: Tensor, bias: Tensor | None, T: int, numbers: Sequence[float], first: int
) -> tuple[Tensor, Tensor]:
    shape, device = currents.shape[1:], currents.device
    count = shape.numel()
    words = torch.empty((PLANES, *shape), dtype=word_dtype(T), device=device)
    after = torch.empty((2, *shape), dtype=currents.dtype, device=device)
    if not count:
        return words, after
    start = v if first else repeated(v, shape)
    add, step = biases(bias, shape, T)
    values: list[float] = [
        *map(_cuda.address, (currents, start, add, words, after)),
        T,
        count,
        first,
        count if len(currents) > 1 else 0,
        start.numel(),
        1 if add is None else add.numel() // (T if step else 1),
        step,
        *scaled(numbers),
    ]
    run = instance(currents.dtype, words.dtype)
    _cuda.launch(run, (_cuda.blocks(count, run.threads),), values, currents)
    return words, after


def instance(values: torch.dtype, words: torch.dtype) -> _cuda.Kernel:
    """The kernel for a type of numbers and of words."""
    arguments = f"{_cuda.TYPES[values]}, {_cuda.WORDS[words]}"
    return _cuda.Kernel("adaptive/adaptive.cu", f"adaptive<{arguments}>", "AdaptiveCall", "<12q6d", blocks=3)
