"""adaptive_steps on the CPU, in C++."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.ops._plan import NUMBERS
from fastsnn.ops._repeated import biases, repeated
from fastsnn.ops.adaptive.reference import PLANES, scaled
from fastsnn.spikes import word_dtype


def adaptive_steps(
    currents: Tensor, v: Tensor, bias: Tensor | None, T: int, numbers: Sequence[float], first: int
) -> tuple[Tensor, Tensor]:
    cpu, shape = _native.load(), currents.shape[1:]
    count = shape.numel()
    words = torch.empty((PLANES, *shape), dtype=word_dtype(T))
    after = torch.empty((2, *shape), dtype=currents.dtype)
    start = v if first else repeated(v, shape)
    add, step = biases(bias, shape, T)
    cpu.adaptive(
        getattr(cpu.Number, NUMBERS[currents.dtype]),
        currents.data_ptr(),
        count if len(currents) > 1 else 0,
        count,
        T,
        start.data_ptr(),
        0 if first else max(start.numel(), 1),
        first,
        0 if add is None else add.data_ptr(),
        1 if add is None else max(add.numel() // (T if step else 1), 1),
        step,
        scaled(numbers),
        words.data_ptr(),
        words.element_size(),
        after.data_ptr(),
        torch.get_num_threads(),
    )
    return words, after
