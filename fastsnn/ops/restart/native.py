"""restart on the CPU, in C++."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.ops._plan import NUMBERS
from fastsnn.ops._repeated import repeated


def restart(words: Sequence[Tensor], v: Sequence[Tensor], threshold: Tensor, start: Tensor) -> Tensor:
    cpu, shape = _native.load(), v[0].shape
    theta, begin, out = repeated(threshold, shape), repeated(start, shape), torch.empty_like(v[0])
    cpu.restart(
        getattr(cpu.Number, NUMBERS[out.dtype]),
        [x.data_ptr() for x in words],
        words[0].element_size(),
        out.numel(),
        [x.data_ptr() for x in v],
        theta.data_ptr(),
        max(theta.numel(), 1),
        begin.data_ptr(),
        max(begin.numel(), 1),
        out.data_ptr(),
        torch.get_num_threads(),
    )
    return out
