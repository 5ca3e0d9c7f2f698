"""Neurons without weights in CUDA: how values that spread over them become addresses and periods."""

import torch
from torch import Tensor

from fastsnn import _cuda, _gpu
from fastsnn.ops._repeated import biases, repeated
from fastsnn.spikes import word_dtype

BYTES = 16


def run(
    current: Tensor,
    constant: bool,
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    reset: str,
    comparator: str,
    keep: bool = True,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """T steps of neurons driven by currents [T, *N], or by one [*N] for all steps: (words [*N], v [*N] or None).

    current  contiguous; v, threshold and bias in its dtype, spread over the neurons as in `if_steps`
    keep     False: the potentials after the last step are not wanted
    out      words to write to, contiguous but for a last dimension that may be part of a longer one
    """
    shape = current.shape if constant else current.shape[1:]
    count, device = shape.numel(), current.device
    out = torch.empty(shape, dtype=word_dtype(T), device=device) if out is None else out
    after = torch.empty(shape, dtype=current.dtype, device=device) if keep else None
    if not count:
        return out, after
    start, theta = repeated(v, shape), repeated(threshold, shape)
    add, step = biases(bias, shape, T)
    width = shape[-1] if shape else 1
    pitch = _gpu.pitch(out)
    n = BYTES // current.element_size()
    # lines of words without gaps are one line; a row of currents has to begin where wide loads may
    line = (count, count) if pitch == width else (width, pitch)
    addresses = (_cuda.address(current), _cuda.address(after))
    wide = _cuda.divides(n, count, *line) and _cuda.divides(BYTES, *addresses)
    n = n if wide and out.data_ptr() % (n * out.element_size()) == 0 else 1
    values = (
        *map(_cuda.address, (current, start, theta, add, out, after)),
        T,
        count,
        *(max(x.numel(), 1) for x in (start, theta)),
        1 if add is None else max(add.numel() // (T if step else 1), 1),
        step,
        *line,
        reset == "hard",
        comparator == ">",
    )
    kernel = instance(current.dtype, out.dtype, n, constant)
    _cuda.launch(kernel, (_cuda.blocks(count, kernel.threads * n),), values, current)
    return out, after


def instance(values: torch.dtype, words: torch.dtype, n: int, constant: bool) -> _cuda.Kernel:
    """The kernel for a type of numbers and of words; n neurons a thread."""
    arguments = f"{_cuda.TYPES[values]}, {_cuda.WORDS[words]}, {n}, {str(constant).lower()}"
    # enough threads to keep memory busy, with as few registers as that leaves without any being spilled
    return _cuda.Kernel("neuron/neuron.cu", f"neurons<{arguments}>", "NeuronCall", "<16q", blocks=2 if n > 4 else 3)
