"""What the inputs of a layer drive it with, apart from spikes: bias, schedule, constant currents, sums of numbers."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fastsnn._registry import load
from fastsnn.ops._by_backend import FIXED
from fastsnn.ops._computed import computed
from fastsnn.program import ConvTerm, LinearTerm, NeuronLayer, Term
from fastsnn.program.fixed import saturated
from fastsnn.program.terms import Map, total_of

Results = dict[str, Tensor]
# outputs of a group that are worth 16 at once
NARROW = 4
# behind the name of a layer: its bias and constant inputs as one current
CONSTANT = ".constant"


class Run(Protocol):
    """The part of a run that drivers see.

    lent    results in `static` whose memory is from `room`
    steps   those before the chunk that is driven
    asleep  images and biases are no longer given
    """

    static: Results
    lent: set[str]
    steps: int
    batch: int

    @property
    def asleep(self) -> bool: ...

    def narrow(self, name: str) -> Tensor:
        """An input that is held as numbers of 32 bits, which hold every fixed-point number."""
        ...

    def numbers(self, name: str, results: Results, T: int) -> Tensor: ...

    def words(self, layer: NeuronLayer, T: int) -> Tensor: ...

    def room(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory to write to."""
        ...

    def give_back(self, result: Tensor) -> None:
        """Memory from `room` that nobody will read again."""
        ...


class Bias:
    """What is added to the sums of a layer that change over time: bias, constant inputs, and its schedule.

    shared  what runs of all batches have in common: the bias, for each step of the longest run where there is a
            schedule; without the constant inputs
    varies  whether each chunk has its own
    """

    def __init__(self, layer: NeuronLayer, constant: Sequence[Term], exact: bool) -> None:
        self.layer, self.constant, self.exact = layer, constant, exact
        self.schedule = schedule_of(layer)
        self.shared = layer.bias if self.schedule is None else summed(layer.bias, self.schedule)
        self.varies = bool(constant) or self.schedule is not None

    def __call__(self, run: Run, T: int) -> Tensor:
        """For the next T steps: it spreads over [T, B, *S, C] from the right."""
        if run.asleep:
            return torch.zeros_like(self.layer.bias)
        if not self.constant:
            return self.shared if self.schedule is None else steps_of(self.shared, run, T)
        bias = bias_of(self.layer, self.constant, run, self.exact)
        return bias if self.schedule is None else summed(bias, steps_of(self.schedule, run, T))


def schedule_of(layer: NeuronLayer) -> Tensor | None:
    """The schedule of a layer as biases [T, 1, ..., C] of neurons [B, *S, C]."""
    if layer.schedule is None:
        return None
    return stored(layer.schedule).unflatten(0, (-1, *[1] * len(layer.shape))).contiguous()


def steps_of(schedule: Tensor, run: Run, T: int) -> Tensor:
    """The part of a schedule that the next T steps of a run take."""
    return schedule[run.steps : run.steps + T]


def summed(bias: Tensor, schedule: Tensor) -> Tensor:
    """Their sum, a stored number again; `schedule` is as `schedule_of` gives it."""
    return stored(stored(bias) + schedule)


def stored(values: Tensor) -> Tensor:
    """Numbers as they are, but those of 32 bits saturated: two of them add up to no more than 32 bits."""
    return saturated(values) if values.dtype == torch.int32 else values


def bias_of(layer: NeuronLayer, constant: Sequence[Term], run: Run, exact: bool, fixed: Any = None) -> Tensor:
    """Bias and constant inputs of a layer, computed once a run where there are any; by `fixed`, where that is given."""
    if run.asleep:
        return torch.zeros_like(layer.bias)
    if not constant:
        return layer.bias
    key = layer.name + CONSTANT
    if key not in run.static:
        if fixed is not None:
            out = run.room((run.batch, *layer.shape), layer.bias.dtype)
            run.static[key] = fixed(run.narrow(constant[0].source), out)
            run.lent.add(key)
        else:
            run.static[key] = constant_of(layer, constant, run.static, exact)
    return run.static[key]


def constant_of(layer: NeuronLayer, terms: Sequence[Term], static: Results, exact: bool) -> Tensor:
    """Bias and constant inputs of a layer as one current [B, *S, C]."""
    total = total_of(maps_of(terms, exact, False), [static[term.source] for term in terms]) + layer.bias
    return saturated(total).to(layer.bias.dtype).contiguous()


def maps_of(terms: Sequence[Term], exact: bool, native: bool) -> list[Map]:
    """What each term does to numbers of every step [N, *S, C], in the native module where that has it."""
    return [_map(term, native) if exact else term for term in terms]


def _map(term: Term, native: bool) -> Map:
    if not native:
        return term.exact
    made = convolution_of(term, torch.zeros(1, dtype=torch.int32))
    return (lambda x: computed(lambda: [term.exact(x)])[0]) if made is None else made.scaled


def convolution_of(term: Term, bias: Tensor) -> Any:
    """A term of numbers and a bias in the native module: None where that has no kernel for it, or is no faster."""
    return None if _narrow(term) else _convolution("native", term, term.shape, bias)


def _narrow(term: Term) -> bool:
    """Whether its groups have so few outputs that the native module, which computes 16 at once, is no faster.

    Of convolutions whose outputs have a channel each it computes 16 channels.
    """
    if not isinstance(term, ConvTerm):
        return False
    outputs, per_group = term.weight.shape[:2]
    return outputs // term.groups < NARROW and (outputs, per_group) != (term.groups, 1)


def fixed_of(layer: NeuronLayer, terms: Sequence[Term], backend: str) -> Any:
    """The constant current of a layer in integers, where it is one convolution or linear map of int32; or None."""
    (term, *more) = terms
    return None if more else _convolution(backend, term, layer.shape, layer.bias)


def _convolution(backend: str, term: Term, shape: tuple[int, ...], bias: Tensor) -> Any:
    """A convolution or linear map of numbers of 32 bits; None for other terms."""
    if not isinstance(term, ConvTerm | LinearTerm) or term.weight.ndim > 5:
        return None
    common = (shape, term.weight, bias, term.shift)
    kind = load(FIXED[backend])
    if isinstance(term, LinearTerm):
        return kind(*common, (), (), (), 1)
    return kind(*common, term.stride, term.padding, term.dilation, term.groups)
