"""Neurons without weights in the native module: their numbers become addresses and periods."""

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.firing import firing_of
from fastsnn.ops import _rule
from fastsnn.ops._plan import NUMBERS
from fastsnn.ops._repeated import biases, repeated
from fastsnn.ops._step import goes_on
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

    Neurons of several planes, or that count: words and potentials are as `if_steps` says.
    """
    cpu, firing = _native.load(), firing_of(reset)
    shape = current.shape if constant else current.shape[1:]
    count = shape.numel()
    out = torch.empty(firing.words_of(shape), dtype=word_dtype(T)) if out is None else out
    after = torch.empty(firing.state_of(shape), dtype=current.dtype) if keep else None
    emitted = None
    if goes_on(firing, v, shape):
        v, emitted = v[0], v[1].contiguous()
    number = NUMBERS[current.dtype]
    # 32-bit sums with a bias, or with a threshold below 0 or large, can leave 32 bits before they saturate
    if number == "i32" and (bias is not None or _rule.least(firing, threshold) < 0):
        number = "wide"
    start, theta = repeated(v, shape), repeated(threshold, shape)
    add, step = biases(bias, shape, T)
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
        firing.reset == "hard",
        comparator == ">",
        out.data_ptr(),
        out.element_size(),
        0 if after is None else after.data_ptr(),
        _rule.native(firing, T, current.dtype),
        0 if emitted is None else emitted.data_ptr(),
        torch.get_num_threads(),
    )
    return out, after
