"""emit on the CPU, in C++."""

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.ops._plan import NUMBERS
from fastsnn.ops._repeated import repeated
from fastsnn.ops.emit.reference import key


def emit(words: Tensor, v: Tensor, threshold: Tensor, T: int, kind: str, seed: int) -> Tensor:
    cpu, theta, out = _native.load(), repeated(threshold, words.shape), torch.empty_like(words)
    cpu.emit(
        getattr(cpu.Number, NUMBERS[v.dtype]),
        kind == "random",
        words.data_ptr(),
        words.element_size(),
        words.numel(),
        v.data_ptr(),
        theta.data_ptr(),
        max(theta.numel(), 1),
        T,
        key(seed),
        out.data_ptr(),
        torch.get_num_threads(),
    )
    return out
