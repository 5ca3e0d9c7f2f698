"""restart in CUDA."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _cuda
from fastsnn.ops._repeated import repeated
from fastsnn.spikes import MAX_STEPS

BYTES = 16


def restart(words: Sequence[Tensor], v: Sequence[Tensor], threshold: Tensor, start: Tensor) -> Tensor:
    out, shape = torch.empty_like(v[0]), v[0].shape
    count, theta, begin = out.numel(), repeated(threshold, shape), repeated(start, shape)
    if not count:
        return out
    given = [_cuda.address(x) for x in (*words, *v, out)]
    # a thread's potentials are read at once; its words take less
    n = BYTES // out.element_size()
    n = n if _cuda.divides(n, count) and _cuda.divides(BYTES, *given) else 1
    run = instance(out.dtype, words[0].dtype, n)
    unused = [0] * (MAX_STEPS - len(v))
    values = [
        *(*given[: len(v)], *unused, *given[len(v) : -1], *unused),
        *(_cuda.address(x) for x in (theta, begin, out)),
        *(count, len(v), max(theta.numel(), 1), max(begin.numel(), 1)),
    ]
    _cuda.launch(run, (_cuda.blocks(count, run.threads * n),), values, out)
    return out


def instance(values: torch.dtype, words: torch.dtype, n: int) -> _cuda.Kernel:
    """The kernel for a type of numbers and of words; n neurons a thread."""
    arguments = ", ".join([_cuda.TYPES[values], _cuda.WORDS[words], str(n)])
    form = f"<{2 * MAX_STEPS + 7}q"
    return _cuda.Kernel("restart/restart.cu", f"restart<{arguments}>", "RestartCall", form, blocks=3)
