"""Neurons without weights in CUDA: how values that spread over them become addresses and periods."""

from functools import lru_cache

import torch
from torch import Tensor

from fastsnn import _cuda, _gpu
from fastsnn.firing import MOST_PLANES, Firing, firing_of
from fastsnn.ops._repeated import biases, repeated
from fastsnn.ops._step import count_unit, goes_on
from fastsnn.spikes import MAX_STEPS, word_dtype

BYTES = 16
# of csrc/common/rule.h
RULE = f"{MAX_STEPS}d{2 * MAX_STEPS}i{2 * MOST_PLANES}h8i"
# of the struct that a kernel is launched with, by whether its neurons are graded
CALLS = {False: ("NeuronCall", "<16q"), True: ("GradedNeuronCall", f"<16q{RULE}2q")}


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

    Neurons of several planes, or that count: words and potentials are as `if_steps` says; planes of `out` may lie
    apart.
    """
    firing = firing_of(reset)
    shape = current.shape if constant else current.shape[1:]
    count, device = shape.numel(), current.device
    out = torch.empty(firing.words_of(shape), dtype=word_dtype(T), device=device) if out is None else out
    after = torch.empty(firing.state_of(shape), dtype=current.dtype, device=device) if keep else None
    if not count:
        return out, after
    emitted = None
    if goes_on(firing, v, shape):
        v, emitted = v[0], v[1].contiguous()
    start, theta = repeated(v, shape), repeated(threshold, shape)
    add, step = biases(bias, shape, T)
    width = shape[-1] if shape else 1
    pitch, plane = pitches(out, firing)
    # what graded neurons compute outweighs how they read
    n = BYTES // current.element_size() if firing.plain else 1
    # lines of words without gaps are one line; a row of currents has to begin where wide loads may
    line = (count, count) if pitch == width else (width, pitch)
    addresses = (_cuda.address(current), _cuda.address(after))
    wide = _cuda.divides(n, count, *line) and _cuda.divides(BYTES, *addresses)
    n = n if wide and out.data_ptr() % (n * out.element_size()) == 0 else 1
    values: list[float] = [
        *map(_cuda.address, (current, start, theta, add, out, after)),
        T,
        count,
        *(max(x.numel(), 1) for x in (start, theta)),
        1 if add is None else max(add.numel() // (T if step else 1), 1),
        step,
        *line,
        firing.reset == "hard",
        comparator == ">",
    ]
    if not firing.plain:
        values += [*rule(firing, T, current.dtype), _cuda.address(emitted), plane]
    kernel = instance(current.dtype, out.dtype, n, constant, not firing.plain)
    _cuda.launch(kernel, (_cuda.blocks(count, kernel.threads * n),), values, current)
    return out, after


def instance(values: torch.dtype, words: torch.dtype, n: int, constant: bool, graded: bool = False) -> _cuda.Kernel:
    """The kernel for a type of numbers and of words; n neurons a thread."""
    call, form = CALLS[graded]
    arguments = [_cuda.TYPES[values], _cuda.WORDS[words], str(n), str(constant).lower(), *[call] * graded]
    # enough threads to keep memory busy, with as few registers as that leaves without any being spilled
    return _cuda.Kernel("neuron/neuron.cu", f"neurons<{', '.join(arguments)}>", call, form, blocks=2 if n > 4 else 3)


def pitches(out: Tensor, firing: Firing) -> tuple[int, int]:
    """Elements from one line of words to the next, and from one plane to the next, or 0 where there is one."""
    return (_gpu.pitch(out), 0) if len(firing.planes) == 1 else (_gpu.pitch(out[0]), out.stride(0))


@lru_cache(maxsize=256)
def rule(firing: Firing, T: int, dtype: torch.dtype) -> tuple[float, ...]:
    """The fields of csrc/common/rule.h, for T steps of neurons whose values have a dtype."""
    gains, fixed, caps, unit = firing.gains(T), firing.fixed_gains(T), firing.caps(T), count_unit(dtype)
    # no count gets to the largest number
    most = torch.iinfo(torch.int32 if dtype.is_floating_point else dtype).max
    counted = [min(cap * unit, most) for cap in caps or ()]
    steps = [[*numbers, *[0] * (MAX_STEPS - len(numbers))] for numbers in (gains or (), fixed or (), counted)]
    planes = [[*numbers, *[0] * (MOST_PLANES - len(numbers))] for numbers in zip(*firing.planes, strict=True)]
    flags = (firing.single, firing.below, firing.counted, caps is not None, gains is not None, firing.differential)
    return tuple(n for numbers in (*steps, *planes, (len(firing.planes), unit), flags) for n in numbers)
