"""A layer of spiking neurons in CUDA: driven by events, or as products on the tensor cores; weights made ready once."""

from collections.abc import Sequence
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from fastsnn import _cuda, _gpu
from fastsnn._kept import Kept
from fastsnn.firing import firing_of
from fastsnn.ops import _events_cuda, _neurons_cuda, _products_cuda, _three
from fastsnn.ops._events_cuda import Split, Work
from fastsnn.ops._inputs import split_inputs
from fastsnn.ops._products_cuda import MOST_INPUTS, WINDOW, Products
from fastsnn.ops._repeated import spread, spread_bias, within_32_bits
from fastsnn.ops._step import goes_on, value_dtype
from fastsnn.spikes import word_dtype

# how a layer runs
Way = Split | Products
# bytes of a channel's numbers from which on products are not mostly padding
LEAST_DEPTH = 32


def _read(numbers: list[int]) -> Way:
    if numbers == []:
        return Products()
    outputs, parts = numbers
    if outputs not in (1, 2, 4) or parts not in (1, 2, 4, 8):
        raise ValueError(f"not a way to run a layer: {numbers}")
    return Split(outputs, parts)


def _write(way: Way) -> list[int]:
    return [way.outputs, way.parts] if isinstance(way, Split) else []


WAYS = Kept[Way]("layers", ("cupy", "fastsnn"), _read, _write)


class CudaPlan:
    """A layer of spiking neurons driven by convolutions of words, or by linear maps (no spatial dimensions).

    inputs .. comparator, bias_varies, proven
                as in `TritonPlan`; weights may be of any type, and sums of any length
    way         how it runs; None takes what was measured for the shape and batch, or else the usual. Sums of
                floating-point numbers are taken in the order that it says

    Nothing is checked here but the number of inputs. A plan may run in several threads at once.
    """

    def __init__(
        self,
        inputs: Sequence[Sequence[int]],
        weights: Sequence[Tensor],
        shape: Sequence[int],
        threshold: Tensor,
        v: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: Sequence[int],
        reset: str,
        comparator: str,
        way: Way | None = None,
        bias_varies: bool = False,
        proven: bool = True,
    ) -> None:
        if len(inputs) > MOST_INPUTS:
            raise ValueError(f"a layer in CUDA may have up to {MOST_INPUTS} inputs, got {len(inputs)}")
        self.shape, self.dtype, self.way, self._proven = tuple(shape), threshold.dtype, way, proven
        self.out = tuple(_three.sizes(shape[1:-1]))
        self.firing = firing_of(reset)
        self.rules = (self.firing.reset == "hard", comparator == ">")
        exact = self.dtype == torch.int32
        narrow = all(w.dtype == torch.int8 for w in weights) and bias is None and not bias_varies
        wide = exact and not narrow and (not proven or not within_32_bits(weights, bias, bias_varies))
        self.sums = torch.int64 if wide else torch.int32 if self.dtype == torch.int16 else self.dtype
        self.events, self.looks, self.groups = split_inputs(inputs, weights, stride, padding, dilation, groups, proven)
        self.own = shape[-1] // self.groups
        kinds = {e.weight.dtype for e in self.events}
        self.operand = kinds.pop() if len(kinds) == 1 else value_dtype(self.dtype)
        every = (*self.events, *self.looks)
        self._order = [i.source for i in every]
        self.chunks = sum(map(_events_cuda.chunks, self.events))
        sizes = [_three.sizes(inputs[source][:-1]) for source in self._order]
        channels = [e.weight.shape[1] for e in self.events]
        channels += [shape[-1] // inputs[look.source][-1] for look in self.looks]
        self._windows = [
            number
            for c, size, i in zip(channels, sizes, every, strict=True)
            for number in (c, *size, *(n for numbers in i.window for n in numbers), *i.pooled)
        ]
        self._threshold, self._v = spread(threshold, self.shape), self._begin(v, self.shape)
        self._bias = (None, 1, 0) if bias is None else spread_bias(bias, self.shape)
        self._device = threshold.device
        self._ways: dict[tuple[int, int], Way] = {}
        # of products, whether they can be and in how many planes
        self.products = _products_cuda.able(self.events, self.sums, self._device)
        self.planes = _products_cuda.planes(self.events, proven) if self.products else 0

    @property
    def label(self) -> str:
        """How it runs, for a report."""
        return f"CUDA, {self.way or 'by shape'}"

    def choices(self, batch: int, T: int) -> tuple[Way | None, ...]:
        """Ways to the same result that are worth measuring: by shape, and others."""
        work, usual = self._work(batch, T), self.usual(batch, T)
        found: list[Way] = [Products()] if self.products else []
        found += _events_cuda.choices(work, _gpu.processors(self._device))
        return (None, *(way for way in found if way != usual))

    def choose(self, way: Way | None) -> None:
        """Takes one way for every batch size; None leaves it to the shape."""
        self.way = way

    def remember(self, way: Way | None, batch: int, T: int) -> None:
        """Takes it for this shape and batch from now on, in later processes too."""
        WAYS.store(self._key(batch, T), way or self.usual(batch, T), self._device)
        self._ways.pop((batch, T), None)

    def way_for(self, batch: int, T: int) -> Way:
        """How a launch runs."""
        if self.way is not None:
            return self.way
        if (batch, T) not in self._ways:
            known = WAYS.find(self._key(batch, T), self._device)
            self._ways[batch, T] = known or self.usual(batch, T)
        return self._ways[batch, T]

    def usual(self, batch: int, T: int) -> Way:
        """What is taken where nothing was measured: products where they fill the GPU and are not mostly padding."""
        processors, positions = _gpu.processors(self._device), batch * prod(self.out)
        if self.products and _products_cuda.tiles(positions, self.own, self.groups, _steps(T)) >= processors:
            if all(_products_cuda.depth(e) >= LEAST_DEPTH for e in self.events):
                return Products()
        return _events_cuda.usual(self._work(batch, T), processors)

    def __call__(
        self,
        words: Sequence[Tensor],
        T: int,
        v: Tensor | None = None,
        keep: bool = True,
        bias: Tensor | None = None,
        out: Tensor | None = None,
        first: int = 0,
    ) -> tuple[Tensor, Tensor | None]:
        """T steps: (words [B, *S', O], potentials after them, or None where they are not to be kept).

        words   [B, *S_i, C_i] each, packed, but that the channels of a position may be followed by unused ones
        v       contiguous potentials [B, *S', O] to go on from; None for those of a fresh run
        bias    in place of the plan's, spreads over [T, B, *S', O] from the right
        out     words to write to, packed like `words`
        first   steps of the run before these

        Neurons of several planes, or that count: words and potentials are as `if_steps` says; planes of `out` may lie
        apart.
        """
        batch, device, firing = words[0].shape[0], words[0].device, self.firing
        shape = (batch, *self.shape[1:])
        out = torch.empty(firing.words_of(shape), dtype=word_dtype(T), device=device) if out is None else out
        after = torch.empty(firing.state_of(shape), dtype=self.dtype, device=device) if keep else None
        positions = batch * prod(self.out)
        if positions == 0:
            return out, after
        start, v_repeat, emitted = self._v if v is None else self._begin(v, shape)
        pitch, plane = _neurons_cuda.pitches(out, firing)
        add, bias_repeat, bias_step = self._bias
        if bias is not None:
            add, bias_repeat, bias_step = spread_bias(bias, shape)
        theta, threshold_repeat = self._threshold
        kernel, weights, tiles, shared, rest = self._launch(self.way_for(batch, T), batch, T, out.dtype)
        seen = [words[source] for source in self._order]
        empty = [0] * (MOST_INPUTS - len(seen))
        values = (
            *(w.data_ptr() for w in seen), *empty,
            *(w.data_ptr() for w in weights), *empty,
            *map(_cuda.address, (start, theta, add, out, after)),
            *(_gpu.pitch(w) for w in seen), *empty,
            positions, v_repeat, threshold_repeat, bias_repeat, bias_step, pitch,
            *(w.element_size() for w in seen), *empty,
            *self._windows, *[0] * (WINDOW * len(empty)),
            len(self.events), len(self.looks), T, self.own, self.groups, *rest, *self.rules, *self.out,
        )  # fmt: skip
        if not firing.plain:
            rule = _neurons_cuda.rule(firing.at(first or firing.first), T, self.dtype)
            values = (*values, *rule, _cuda.address(emitted), plane)
        _cuda.launch(kernel, (min(tiles, _cuda.MOST_BLOCKS),), values, words[0], shared)
        return out, after

    def _begin(self, v: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, int, Tensor | None]:
        """Potentials as numbers [P, O], P, and counts of what was emitted; None where that is nothing."""
        if goes_on(self.firing, v, shape):
            return *spread(v[0], shape), v[1].contiguous()
        return *spread(v, shape), None

    def _launch(
        self, way: Way, batch: int, T: int, words: torch.dtype
    ) -> tuple[_cuda.Kernel, list[Tensor], int, int, tuple[int, int, int, int]]:
        """(kernel, weights, blocks that have work, bytes of shared memory, and row, parts, planes, slices) of a way."""
        steps, work, graded = _steps(T), self._work(batch, T), not self.firing.plain
        if isinstance(way, Split):
            kernel = _events_cuda.instance(self.operand, self.dtype, self.sums, words, way.outputs, steps, graded)
            shared = _events_cuda.shared(way.outputs, steps, self.sums) if way.parts > 1 else 0
            rest = (_events_cuda.row(self.own), way.parts, 0, 0)
            return kernel, self._event_weights, work.tiles(way), shared, rest
        operand = self.operand if self.operand.is_floating_point else torch.int8
        kernel = _products_cuda.instance(operand, self.dtype, self.sums, words, steps, graded)
        tiles = _products_cuda.tiles(work.positions, self.own, self.groups, steps)
        slices = self.planes * sum(map(_products_cuda.slices, self.events))
        return kernel, self._product_weights, tiles, _products_cuda.shared(operand, steps), (0, 1, self.planes, slices)

    def _work(self, batch: int, T: int) -> Work:
        return Work(batch * prod(self.out), self.own, self.groups, self.chunks, self.sums, _steps(T))

    def _key(self, batch: int, T: int) -> str:
        numbers = (batch, _steps(T), self.out, self.own, self.groups, len(self.events), self.planes, self._windows)
        return f"{self.operand} {self.sums} {numbers}"

    # made when they are first needed: a layer that always runs one way has them once
    @cached_property
    def _event_weights(self) -> list[Tensor]:
        return [_events_cuda.packed(e, self.groups, self.operand) for e in self.events] + self._taps

    @cached_property
    def _product_weights(self) -> list[Tensor]:
        return [_products_cuda.packed(e, self.groups, self.planes) for e in self.events] + self._taps

    @cached_property
    def _taps(self) -> list[Tensor]:
        """Weights [O, 1, d, h, w] of looks as [taps, O], as wide as sums that need no more room than a weight."""
        kind = torch.int32 if self.sums == torch.int64 else self.sums
        return [look.weight.flatten(1).T.to(kind).contiguous() for look in self.looks]


def _steps(T: int) -> int:
    """Steps that kernels have room for."""
    return 8 if T <= 8 else 16 if T <= 16 else 32
