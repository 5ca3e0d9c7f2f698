"""The cases of every family, from a seed: what tests compare on and benchmarks time.

Every value is a whole multiple of a unit (1/8; in fixed point an eighth of the default threshold: 2^21, in 16 bits
2^9, with weights of 8 bits 2^3). Sums are then exact in each dtype and in any order (in 16 bits: modulo 2^16, and some
do wrap), and potentials meet thresholds exactly often enough to tell >= from >.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from typing import Any

import torch
from torch import Generator, Tensor

from fastsnn.ops._step import value_dtype
from fastsnn.spikes import word_dtype
from fastsnn.testing.adaptive import adaptive_calls
from fastsnn.windows import output_size

SIZES = (1, 63, 257, 1000)
STEPS = (1, 7, 8, 9, 16, 31, 32)
DTYPES = (torch.float32, torch.float64, torch.int32, torch.int16)
WEIGHTS = (*DTYPES, torch.int8, torch.float16, torch.bfloat16)
UNIT: dict[torch.dtype, float] = {torch.int32: 2**21, torch.int16: 2**9, torch.int8: 2**3}
UNIT |= dict.fromkeys((torch.float32, torch.float64, torch.float16, torch.bfloat16), 1 / 8)


@dataclass(frozen=True)
class Case:
    """One call of torch.ops.fastsnn.<op>; `build` makes its arguments from a random generator."""

    op: str
    name: str
    build: Callable[[Generator], tuple]
    seed: int = 0

    def arguments(self, device: torch.device | str = "cpu") -> tuple:
        """New tensors at each call, the same values on every device."""
        return tuple(_to(x, device) for x in self.build(Generator().manual_seed(self.seed)))


@dataclass(frozen=True)
class Neurons:
    """How a layer's thresholds, initial potentials and biases are given, and its rules.

    threshold, v  "one", "channel", "neuron" (without the batch) or "all"
    bias          "none", "channel", or "step" (per channel and step)
    """

    threshold: str = "one"
    v: str = "one"
    bias: str = "none"
    reset: str = "soft"
    comparator: str = ">="


VARIANTS = (
    Neurons(),
    Neurons("channel", "one", "channel", "soft", ">"),
    Neurons("neuron", "all", "step", "soft", ">="),
    Neurons("one", "channel", "step", "hard", ">"),
    Neurons("channel", "neuron", "channel", "hard", ">="),
)


@dataclass(frozen=True)
class Input:
    """One input of a convolution: its size, channels and geometry."""

    sizes: Sequence[int]
    channels: int
    kernel: Sequence[int]
    stride: Sequence[int] = ()
    padding: Sequence[int] = ()
    dilation: Sequence[int] = ()
    groups: int = 1

    def geometry(self) -> tuple[list[int], list[int], list[int]]:
        n = len(self.sizes)
        return list(self.stride or [1] * n), list(self.padding or [0] * n), list(self.dilation or [1] * n)

    def output(self) -> tuple[int, ...]:
        return tuple(map(output_size, self.sizes, self.kernel, *self.geometry(), [False] * len(self.sizes)))


# batch, output channels, inputs
CONVOLUTIONS: dict[str, tuple[int, int, tuple[Input, ...]]] = {
    "one": (1, 1, (Input((1, 1), 1, (1, 1)),)),
    "3x3": (2, 5, (Input((5, 7), 3, (3, 3), padding=(1, 1)),)),
    "stride2": (1, 7, (Input((9, 8), 63, (3, 3), (2, 2), (1, 1)),)),
    "uneven": (2, 3, (Input((9, 6), 2, (3, 2), (2, 1), (1, 0), (2, 1)),)),
    "depthwise": (2, 7, (Input((5, 5), 7, (3, 3), padding=(1, 1), groups=7),)),
    "grouped": (1, 4, (Input((4, 5), 6, (2, 3), groups=2),)),
    "1d": (3, 5, (Input((63,), 2, (5,), (2,), (2,)),)),
    "3d": (1, 3, (Input((3, 4, 5), 2, (2, 3, 3), padding=(0, 1, 1)),)),
    "residual": (2, 6, (Input((5, 4), 5, (3, 3), padding=(1, 1)), Input((5, 4), 6, (1, 1), groups=6))),
    "shortcut": (1, 5, (Input((5, 5), 3, (3, 3), padding=(1, 1)), Input((9, 9), 2, (1, 1), stride=(2, 2)))),
    "two": (2, 4, (Input((6, 5), 2, (3, 3), padding=(1, 1)), Input((6, 5), 3, (3, 2), (1, 1), (2, 1), (2, 2)))),
    "wide": (1, 63, (Input((3, 2), 257, (3, 3), padding=(1, 1)),)),
}

# batch, inputs, outputs
LINEARS = ((1, (1,), 1), (3, (63,), 257), (2, (1000,), 63), (5, (257, 63), 10), (1, (257,), 1000))

# sizes, kernel, stride, padding, dilation, ceil_mode
POOLS: dict[str, tuple[Sequence[int], list[int], list[int], list[int], list[int], bool]] = {
    "one": ((1, 1), [1, 1], [1, 1], [0, 0], [1, 1], False),
    "2x2": ((6, 4), [2, 2], [2, 2], [0, 0], [1, 1], False),
    "3x3s2p1": ((7, 9), [3, 3], [2, 2], [1, 1], [1, 1], False),
    "ceil": ((8, 5), [3, 2], [2, 2], [0, 1], [1, 1], True),
    "dilated": ((9, 7), [3, 2], [1, 2], [1, 1], [2, 3], False),
    "1d": ((257,), [3], [2], [1], [1], False),
    "3d": ((3, 4, 5), [2, 2, 3], [1, 2, 2], [0, 1, 1], [1, 1, 1], True),
}

# batch, inputs, outputs
READOUTS = ((1, 1, 1), (3, 63, 10), (2, 1000, 257), (257, 63, 1))


def lattice(g: Generator, shape: Sequence[int], low: int, high: int, dtype: torch.dtype) -> Tensor:
    """Whole multiples of the dtype's unit, from low to high units."""
    return (torch.randint(low, high + 1, tuple(shape), generator=g) * UNIT[dtype]).to(dtype)


def random_words(g: Generator, shape: Sequence[int], T: int) -> Tensor:
    """Words with about a quarter of their T bits set."""
    first, second = (torch.randint(0, 2**T, tuple(shape), generator=g) for _ in range(2))
    return (first & second).to(word_dtype(T))


def neuron_arguments(g: Generator, n: Neurons, T: int, shape: Sequence[int], dtype: torch.dtype) -> tuple:
    """(v, threshold, bias): potentials of up to a threshold, thresholds of 4 to 12 units, biases of up to 2.

    dtype  of the weights, where there are any
    """
    shape, kind = tuple(shape), value_dtype(dtype)
    forms = {"one": (), "channel": shape[-1:], "neuron": shape[1:] or shape, "all": shape}
    bias_forms = {"channel": shape[-1:], "step": (T, *[1] * len(shape[:-1]), *shape[-1:])}
    v = lattice(g, forms[n.v], 0, 8, dtype).to(kind)
    threshold = lattice(g, forms[n.threshold], 4, 12, dtype).to(kind)
    return v, threshold, None if n.bias == "none" else lattice(g, bias_forms[n.bias], -2, 2, dtype).to(kind)


def _to(x: object, device: torch.device | str) -> object:
    if isinstance(x, list):
        return [_to(y, device) for y in x]
    return x.to(device) if isinstance(x, Tensor) else x


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _shape(N: int) -> tuple[int, ...]:
    """N neurons, in several dimensions where N allows it."""
    return (2, 4, 125) if N == 1000 else (N,)


def _pack_case(op: str, T: int, N: int) -> Case:
    def build(g: Generator) -> tuple:
        if op == "pack":
            return (torch.randint(0, 2, (T, *_shape(N)), generator=g, dtype=torch.uint8),)
        words = random_words(g, _shape(N), T)
        return (words, T) if op == "unpack" else (words,)

    return Case(op, f"T{T}-N{N}", build, T * N)


def _if_case(op: str, T: int, N: int, dtype: torch.dtype, n: Neurons) -> Case:
    def build(g: Generator) -> tuple:
        shape = _shape(N)
        current = lattice(g, (T, *shape) if op == "if_steps" else shape, -6, 10, dtype)
        v, threshold, bias = neuron_arguments(g, n, T, shape, dtype)
        steps = () if op == "if_steps" else (T,)
        return current, v, threshold, bias, *steps, n.reset, n.comparator

    return Case(op, f"T{T}-N{N}-{_short(dtype)}-{n.threshold}-{n.reset}", build, T * N)


def _conv_case(name: str, T: int, dtype: torch.dtype, n: Neurons) -> Case:
    batch, out, inputs = CONVOLUTIONS[name]

    def build(g: Generator) -> tuple:
        words = [random_words(g, (batch, *i.sizes, i.channels), T) for i in inputs]
        weights = [lattice(g, (out, i.channels // i.groups, *i.kernel), -3, 4, dtype) for i in inputs]
        v, threshold, bias = neuron_arguments(g, n, T, (batch, *inputs[0].output(), out), dtype)
        geometry = [list(chain(*numbers)) for numbers in zip(*(i.geometry() for i in inputs), strict=True)]
        return words, weights, v, threshold, bias, T, *geometry, [i.groups for i in inputs], n.reset, n.comparator

    return Case("conv_if", f"{name}-T{T}-{_short(dtype)}-{n.threshold}-{n.reset}", build, T)


def _linear_case(sizes: tuple[int, tuple[int, ...], int], T: int, dtype: torch.dtype, n: Neurons) -> Case:
    batch, fan_in, out = sizes

    def build(g: Generator) -> tuple:
        words = [random_words(g, (batch, k), T) for k in fan_in]
        weights = [lattice(g, (out, k), -3, 4, dtype) for k in fan_in]
        v, threshold, bias = neuron_arguments(g, n, T, (batch, out), dtype)
        return words, weights, v, threshold, bias, T, n.reset, n.comparator

    name = f"B{batch}-K{'+'.join(map(str, fan_in))}-O{out}-T{T}-{_short(dtype)}-{n.threshold}-{n.reset}"
    return Case("linear_if", name, build, T * prod(fan_in))


def _pool_case(op: str, name: str, T: int) -> Case:
    sizes, *geometry = POOLS[name]

    def build(g: Generator) -> tuple:
        words = random_words(g, (2, *sizes, 5), T)
        counts = torch.randint(0, 4, words.shape, generator=g, dtype=torch.int32)
        return words, *([counts] if op == "pool_gate" else []), T, *geometry

    return Case(op, f"{name}-T{T}", build, T)


def _lateral_case(name: str, T: int) -> Case:
    sizes, *geometry = POOLS[name]
    # of one plane on every other geometry; -1 takes back what the others emitted
    amplitudes = [1] if T % 2 else [4, 2, 1, -1]

    def build(g: Generator) -> tuple:
        inputs = (2, *sizes, 5)
        words = random_words(g, (len(amplitudes), *inputs) if len(amplitudes) > 1 else inputs, T)
        return words, torch.randint(-4, 5, inputs, generator=g, dtype=torch.int32), T, amplitudes, *geometry

    return Case("pool_lateral", f"{name}-T{T}", build, T)


def _emit_case(T: int, N: int, dtype: torch.dtype, kind: str, form: str) -> Case:
    """Potentials between what no spikes of T steps make up for, either way, often a whole number of thresholds."""

    def build(g: Generator) -> tuple:
        shape = _shape(N)
        _, threshold, _ = neuron_arguments(g, Neurons(form), T, shape, dtype)
        v = lattice(g, shape, -8 * T - 8, 8 * T + 8, dtype)
        return random_words(g, shape, T), v, threshold, T, kind, 2**40 + T

    return Case("emit", f"T{T}-N{N}-{_short(dtype)}-{kind}-{form}", build, T * N)


def _restart_case(steps: int, N: int, dtype: torch.dtype, n: Neurons) -> Case:
    def build(g: Generator) -> tuple:
        start, threshold, _ = neuron_arguments(g, n, steps, _shape(N), dtype)
        words = [random_words(g, _shape(N), 2) for _ in range(steps)]
        return words, [lattice(g, _shape(N), -8, 16, dtype) for _ in range(steps)], threshold, start

    return Case("restart", f"T{steps}-N{N}-{_short(dtype)}-{n.threshold}", build, steps * N)


def _readout_case(sizes: tuple[int, int, int], T: int, dtype: torch.dtype, over_time: bool, with_bias: bool) -> Case:
    batch, fan_in, out = sizes

    def build(g: Generator) -> tuple:
        words, weight = random_words(g, (batch, fan_in), T), lattice(g, (out, fan_in), -8, 8, dtype)
        before = 5 if with_bias else 0
        counts = torch.randint(0, before + 1, words.shape, generator=g, dtype=torch.int32)
        bias = lattice(g, (out,), -8, 8, dtype) if with_bias else None
        return words, weight, bias, counts, T, before, over_time

    name = f"B{batch}-K{fan_in}-O{out}-T{T}-{_short(dtype)}" + "-curve" * over_time
    return Case("readout", name, build, T * fan_in)


def _cycle(options: Sequence[Any], i: int) -> Any:
    return options[i % len(options)]


def _all() -> dict[str, tuple[Case, ...]]:
    grid = list(enumerate(product(STEPS, SIZES)))
    cases = [_pack_case(op, T, N) for op in ("pack", "unpack", "counts") for _, (T, N) in grid]
    for op in ("if_steps", "if_constant"):
        cases += [_if_case(op, T, N, dtype, _cycle(VARIANTS, i)) for i, (T, N) in grid for dtype in DTYPES]
    for i, (name, dtype) in enumerate(product(CONVOLUTIONS, WEIGHTS)):
        cases.append(_conv_case(name, _cycle(STEPS, i), dtype, _cycle(VARIANTS, i)))
    cases += [_conv_case("3x3", T, torch.int32, _cycle(VARIANTS, i)) for i, T in enumerate(STEPS)]
    for i, (sizes, dtype) in enumerate(product(LINEARS, WEIGHTS)):
        cases.append(_linear_case(sizes, _cycle(STEPS, i), dtype, _cycle(VARIANTS, i)))
    cases += [_linear_case(LINEARS[3], T, torch.int32, _cycle(VARIANTS, i)) for i, T in enumerate(STEPS)]
    for op, (i, name) in product(("pool_or", "pool_gate", "pool_counts"), enumerate(POOLS)):
        cases += [_pool_case(op, name, _cycle(STEPS, i)), _pool_case(op, name, _cycle(STEPS, i + 4))]
    for i, name in enumerate(POOLS):
        cases += [_lateral_case(name, _cycle(STEPS, i)), _lateral_case(name, _cycle(STEPS, i + 4))]
    forms = ("one", "channel", "neuron", "all")
    for i, ((T, N), dtype) in enumerate(product(zip(STEPS, (*SIZES, *SIZES), strict=False), DTYPES[:3])):
        cases += [_emit_case(T, N, dtype, kind, _cycle(forms, i)) for kind in ("ordered", "random")]
        cases.append(_restart_case(T, N, dtype, _cycle(VARIANTS, i)))
    for i, (sizes, dtype) in enumerate(product(READOUTS, DTYPES[:2])):
        cases += [_readout_case(sizes, _cycle(STEPS, i), dtype, curve, i % 2 == 0) for curve in (False, True)]
    cases += [Case("adaptive_steps", name, build) for name, build in adaptive_calls()]
    by_op: dict[str, dict[str, Case]] = {}
    for case in cases:
        by_op.setdefault(case.op, {})[case.name] = case
    return {op: tuple(named.values()) for op, named in by_op.items()}


CASES = _all()
