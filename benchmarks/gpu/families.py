"""Every family of kernels in Triton and in CUDA: which is faster on which inputs; the package keeps what came out.

    python benchmarks/gpu/run.py --only families

Passes over neurons or words, for one image and for many; layers driven by spikes, at several rates of them, because
that is what decides the time of kernels that are driven by events. Each layer runs in the best of the ways that its
backend has.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from checks import WrongResult
from rows import RESULTS, Row, append
from torch import Generator, Tensor

from fastsnn import _order
from fastsnn._registry import load
from fastsnn.contest import Pass, arguments, called, passes
from fastsnn.ops._by_backend import PLANS
from fastsnn.ops.conv_if import conv_if
from fastsnn.ops.linear_if import linear_if
from gpu import layers
from gpu.backends import able, forced
from gpu.clock import Deadline, copies, interleaved, turns
from gpu.tuning import fastest, few

CASE = "gpu_family"
# of layers: batch sizes, features of linear ones, and shares of the steps in which an input fires; the order of the
# backends is kept for the first
LAYER_BATCHES, LINEAR, RATES = (1, 64), 1024, (0.1, 0.03, 0.01)
# for the time of one row
ROUNDS, BUDGET = 20, 0.1
PASSES = "passes"

# gives the outputs of one backend
Call = Callable[[], list[Tensor]]


@dataclass(frozen=True)
class Driven:
    """A layer of neurons driven by spikes: a 3x3 convolution of size x size images, or a linear map (size None).

    dtype  of the weights
    """

    inputs: int
    outputs: int
    size: int | None
    T: int
    batch: int
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.op} {self.dtype} {self.name}, batch {self.batch}, T = {self.T}"

    @property
    def op(self) -> str:
        return "linear_if" if self.size is None else "conv_if"

    @property
    def name(self) -> str:
        return f"{self.inputs} -> {self.outputs}" if self.size is None else f"3x3 {self.outputs}@{self.size}"

    def shape(self, batch: int, channels: int) -> tuple[int, ...]:
        return (batch, *([] if self.size is None else [self.size] * 2), channels)

    def numbers(self, on: torch.device) -> list[Tensor]:
        """Weights, threshold, initial potential and bias; in floating point such that all their sums are exact."""
        kernel = () if self.size is None else (3, 3)
        found = layers.numbers((self.outputs, self.inputs, *kernel), self.dtype, on)
        return [(x * 2**10).round() / 2**10 if x.is_floating_point() else x for x in found]

    def plan(self, backend: str, numbers: list[Tensor]) -> Any:
        """The layer as the engine runs it on a GPU."""
        inputs, shape = self.shape(0, self.inputs)[1:], self.shape(self.batch, self.outputs)
        windows = [[1] * (len(shape) - 2)] * 3
        weight, *neurons = numbers
        return load(PLANS[backend])([inputs], [weight], shape, *neurons, *windows, [1], "soft", ">=")

    def reference(self, words: Tensor, numbers: list[Tensor]) -> Tensor:
        weight, threshold, start, bias = (x.cpu() for x in numbers)
        with forced("reference"):
            if self.size is None:
                return linear_if([words.cpu()], [weight], self.T, threshold, start, bias=bias)[0]
            return conv_if([words.cpu()], [weight], self.T, threshold, start, padding=[1, 1], bias=bias)[0]


def driven() -> list[Driven]:
    """The types that matter most first."""
    found = []
    for dtype in layers.VALUES:
        found += [Driven(c, c, size, 16, n, dtype) for c, size in layers.SHAPES for n in LAYER_BATCHES]
        found += [Driven(LINEAR, LINEAR, None, 16, n, dtype) for n in LAYER_BATCHES]
    channels, size = layers.SHAPES[1 % len(layers.SHAPES)]
    return [*found, Driven(channels, channels, size, 8, LAYER_BATCHES[-1], torch.int8)]


def right(what: str, calls: Mapping[str, Call], want: list[Tensor], part: slice = slice(None)) -> None:
    """Every backend gives what the reference gives, and all give the same; raises WrongResult where they do not.

    part  of the batch that the reference was run on; `want` may be on another device
    """
    first: list[Tensor] = []
    for name, call in calls.items():
        try:
            got = call()
        except Exception as error:
            raise WrongResult(f"{what}, {name}: {type(error).__name__}: {str(error)[:300]}") from error
        for mine, wanted in zip(got, want, strict=True):
            _equal(f"{what}, {name}", mine[part].to(wanted.device), wanted, "the reference's")
        for mine, other in zip(got, first or got, strict=True):
            _equal(f"{what}, {name}", mine, other, "the other backend's")
        first = got


def _equal(what: str, got: Tensor, want: Tensor, whose: str) -> None:
    if got.dtype != want.dtype or got.shape != want.shape:
        form = f"{got.dtype} {tuple(got.shape)}"
        raise WrongResult(f"{what}: {form} is not {whose} {want.dtype} {tuple(want.shape)}")
    if not torch.equal(got, want):
        raise WrongResult(f"{what}: {int((got != want).sum())} of {want.numel()} numbers are not {whose}")


class Families:
    """What is measured on a device, with the plans of layers that several rows share."""

    def __init__(self, on: torch.device, names: list[str]) -> None:
        self.on, self.backends = on, names
        self._plans: dict[Driven, tuple[list[Tensor], dict[str, Any], dict[str, str]]] = {}
        self._references: dict[tuple[Driven, float], Tensor] = {}

    def passed(self, given: Pass, _: Deadline) -> Row:
        """One pass on all backends: a row, or WrongResult."""
        sets = [arguments(given, Generator(self.on).manual_seed(seed)) for seed in range(2)]
        calls = {name: partial(called, given, name) for name in self.backends}
        want = called(given, "reference", sets[0])
        right(str(given), {name: partial(call, sets[0]) for name, call in calls.items()}, want)
        del want
        runs = {name: turns(call, sets) for name, call in calls.items()}
        return self._row(given, given.size, sets[0][:1], runs, True)

    def layer(self, given: Driven, rate: float, deadline: Deadline) -> Row:
        """One layer on all backends: a row, or WrongResult. Its plans look for their best way only at the first rate.

        deadline  for the search of one backend
        """
        words = layers.fired(given.shape(given.batch, given.inputs), given.T, rate, self.on)
        # the last image is the same at every batch size, so that the reference runs once
        one = layers.fired(given.shape(1, given.inputs), given.T, rate, self.on)
        words[-1:] = one
        inputs = copies(words)
        numbers, plans, chosen = self._planned(given, inputs, deadline)
        calls = {name: partial(_driven, plan, given.T) for name, plan in plans.items()}
        once = {name: partial(_listed, call, words) for name, call in calls.items()}
        right(f"{given}, rate {rate}", once, [self._wanted(given, rate, one, numbers)], slice(-1, None))
        runs = {name: turns(call, inputs) for name, call in calls.items()}
        size = f"{given.name}, batch {given.batch}, {100 * rate:g} % spikes"
        row = self._row(given, size, (words, numbers[0]), runs, rate == RATES[0])
        return row | {"rate": rate} | {f"{name}_choice": choice for name, choice in chosen.items()}

    def _wanted(self, given: Driven, rate: float, one: Tensor, numbers: list[Tensor]) -> Tensor:
        key = (replace(given, batch=1), rate)
        if key not in self._references:
            self._references[key] = given.reference(one, numbers)
        return self._references[key]

    def _planned(
        self, given: Driven, inputs: list[Tensor], deadline: Deadline
    ) -> tuple[list[Tensor], dict[str, Any], dict[str, str]]:
        if given not in self._plans:
            numbers, seconds = given.numbers(self.on), deadline.left
            plans, chosen = {}, {}
            for name in self.backends:
                try:
                    plan = given.plan(name, numbers)
                    with few():
                        choices = plan.choices(given.batch, given.T)
                    run = turns(partial(_driven, plan, given.T), inputs)
                    choice = fastest(plan, choices, run, self.on, Deadline(seconds))
                except Exception as error:
                    raise WrongResult(f"{given}, {name}: {type(error).__name__}: {str(error)[:300]}") from error
                plans[name], chosen[name] = plan, "usual" if choice is None else str(choice)
            self._plans[given] = numbers, plans, chosen
        return self._plans[given]

    def _row(self, given: Pass | Driven, size: str, told: tuple[Tensor, ...], runs: Mapping, keep: bool) -> Row:
        """Times, and what they say.

        told  what the package tells calls apart by: the order of the backends is kept for it where `keep` says so
        """
        times = interleaved(runs, self.on, rounds=ROUNDS, least=min(ROUNDS, 5), budget=BUDGET, ahead=True)
        if keep:
            _order.remember(given.op, told, {name: found.median / 1e3 for name, found in times.items()})
        triton, cuda = times["triton"], times["cuda"]
        return {
            "case": CASE,
            "op": given.op,
            "kind": _order.kind(given.op, _order.sized(told)).removeprefix(given.op).strip(),
            "size": size,
            "batch": given.batch,
            "T": given.T,
            "rounds": triton.rounds,
            "triton_ms": triton.median,
            "cuda_ms": cuda.median,
            "cuda_speedup": triton.median / cuda.median,
        }


def _driven(plan: Any, T: int, words: Tensor) -> Tensor:
    return plan([words], T, None, False)[0]


def _listed(call: Callable[[Tensor], Tensor], words: Tensor) -> list[Tensor]:
    return [call(words)]


def measurements(measured: Families) -> list[Callable[[Deadline], Row]]:
    """What there is to measure: passes, then the layers at every rate, the first of RATES for all of them before."""
    found: list[Callable[[Deadline], Row]] = [partial(measured.passed, given) for given in passes()]
    return found + [partial(measured.layer, given, rate) for rate in RATES for given in driven()]


def main(on: torch.device, deadline: Deadline, folder: Path = RESULTS) -> Iterator[Row]:
    """Rows as they are measured.

    What is wrong on a backend gets no row; WrongResult is raised once the rest is measured.
    """
    names, wrong = able(on), []
    if len(names) < 2:
        return
    every = measurements(Families(on, names))
    for number, measure in enumerate(every):
        if not deadline.left:
            print(f"left out for want of time: {len(every) - number} of {len(every)} cases", flush=True)
            break
        try:
            row = measure(Deadline(deadline.left / (len(every) - number)))
        except WrongResult as error:
            print(error, flush=True)
            wrong.append(str(error))
            continue
        append(row, folder, on if on.type == "cuda" else None)
        yield row
    if wrong:
        raise WrongResult("; ".join(wrong))


def compile_all(what: str, on: torch.device, deadline: Deadline) -> None:
    """Runs all passes, or the layers with weights of a type in every way, for the caches of the compilers."""
    measured = Families(on, able(on))
    if what == PASSES:
        for given in passes():
            for name in measured.backends if deadline.left else ():
                called(given, name, arguments(given, Generator(on).manual_seed(0)))
        return
    for layer in driven():
        if layer.dtype == getattr(torch, what) and deadline.left:
            words = layers.fired(layer.shape(layer.batch, layer.inputs), layer.T, RATES[0], on)
            measured._planned(layer, [words], deadline)
