"""Neurons without weights in the native module: how values that spread over them become addresses and periods."""

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.ops._plan import NUMBERS
from fastsnn.spikes import word_dtype


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

    keep  False: the potentials after the last step are not wanted;  out: contiguous words to write to
    """
    cpu = _native.load()
    shape = current.shape if constant else current.shape[1:]
    count = shape.numel()
    out = torch.empty(shape, dtype=word_dtype(T)) if out is None else out
    after = torch.empty(shape, dtype=current.dtype) if keep else None
    number = NUMBERS[current.dtype]
    # 32-bit sums with a bias, or with a threshold below 0, can leave 32 bits before they saturate
    if number == "i32" and (bias is not None or bool((threshold < 0).any())):
        number = "wide"
    start, theta = _repeated(v, shape), _repeated(threshold, shape)
    add, step = _biases(bias, shape, T)
    cpu.neurons(
        getattr(cpu.Number, number),
        current.data_ptr(),
        0 if constant else count,
        count,
        T,
        start.data_ptr(),
        max(start.numel(), 1),
        theta.data_ptr(),
        max(theta.numel(), 1),
        0 if add is None else add.data_ptr(),
        1 if add is None else max(add.numel() // (T if step else 1), 1),
        step,
        reset == "hard",
        comparator == ">",
        out.data_ptr(),
        out.element_size(),
        0 if after is None else after.data_ptr(),
        torch.get_num_threads(),
    )
    return out, after


def _repeated(values: Tensor, shape: torch.Size) -> Tensor:
    """Contiguous numbers that repeat over the neurons from the right: one, the last dimensions, or all of them."""
    while values.ndim and values.shape[0] == 1:
        values = values[0]
    if values.ndim and values.shape != shape[len(shape) - values.ndim :]:
        values = values.expand(shape)
    return values.contiguous()


def _biases(bias: Tensor | None, shape: torch.Size, T: int) -> tuple[Tensor | None, int]:
    """The biases, and how many numbers there are for each step: 0 where all steps share them."""
    if bias is None:
        return None, 0
    if bias.ndim <= len(shape):
        return _repeated(bias, shape), 0
    if bias.shape[0] == 1:
        return _repeated(bias[0], shape), 0
    steps = torch.stack([_repeated(b, shape) for b in bias])
    return steps, steps[0].numel()
