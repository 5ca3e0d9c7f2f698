"""A layer of spiking neurons in CUDA, driven by events: rows of weights made ready once, added where words spike."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import prod

import torch
from torch import Tensor

from fastsnn import _cuda, _gpu
from fastsnn._kept import Kept
from fastsnn.ops import _three
from fastsnn.ops._inputs import Input, split_inputs
from fastsnn.ops._repeated import spread, spread_bias, within_32_bits
from fastsnn.ops._step import value_dtype
from fastsnn.spikes import word_dtype

# inputs that one layer may have, as csrc/layer/term.cuh has room for
MOST_INPUTS = 32
WARPS, LANES = 8, 32
# rows of weights are padded to as many numbers: what a lane reads at once
ROW = 4
# bytes that a thread's sums may take, and those of one step
ROOM, STEP_ROOM = 256, 16
# chunks of channels that a warp should have at least, where several share a sum
LEAST_CHUNKS = 4


@dataclass(frozen=True)
class Split:
    """outputs  of a lane;  parts  warps that share the sum of one position: 1, 2, 4 or 8"""

    outputs: int
    parts: int

    def __str__(self) -> str:
        return f"{self.outputs} outputs a lane, {self.parts} warps a position"


def _split(numbers: list[int]) -> Split:
    outputs, parts = numbers
    if outputs not in (1, 2, 4) or parts not in (1, 2, 4, 8):
        raise ValueError(f"not a way to share out a layer: {numbers}")
    return Split(outputs, parts)


SPLITS = Kept[Split]("splits", ("cupy", "fastsnn"), _split, astuple)


class CudaPlan:
    """A layer of spiking neurons driven by convolutions of words, or by linear maps (no spatial dimensions).

    inputs .. comparator, bias_varies, proven
                as in `TritonPlan`; weights may be of any type, and sums of any length
    split       how the work is shared out; None takes the usual for the shape and batch. Sums of floating-point
                numbers are taken in the order that it says

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
        split: Split | None = None,
        bias_varies: bool = False,
        proven: bool = True,
    ) -> None:
        if len(inputs) > MOST_INPUTS:
            raise ValueError(f"a layer in CUDA may have up to {MOST_INPUTS} inputs, got {len(inputs)}")
        self.shape, self.dtype, self.split = tuple(shape), threshold.dtype, split
        self.out = tuple(_three.sizes(shape[1:-1]))
        self.rules = (reset == "hard", comparator == ">")
        exact = self.dtype == torch.int32
        narrow = all(w.dtype == torch.int8 for w in weights) and bias is None and not bias_varies
        wide = exact and not narrow and (not proven or not within_32_bits(weights, bias, bias_varies))
        self.sums = torch.int64 if wide else torch.int32 if self.dtype == torch.int16 else self.dtype
        events, looks, self.groups = split_inputs(inputs, weights, stride, padding, dilation, groups, proven)
        kinds = {e.weight.dtype for e in events}
        self.operand = kinds.pop() if len(kinds) == 1 else value_dtype(self.dtype)
        self._order = [i.source for i in (*events, *looks)]
        self._weights = [self._rows(e) for e in events] + [self._taps(look) for look in looks]
        self._counts = (len(events), len(looks))
        self.chunks = sum(prod(e.window[0]) * -(-e.weight.shape[1] // LANES) for e in events)
        sizes = [_three.sizes(inputs[source][:-1]) for source in self._order]
        channels = [e.weight.shape[1] for e in events] + [shape[-1] // inputs[look.source][-1] for look in looks]
        geometry = [
            (c, *size, *(n for numbers in i.window for n in numbers), *i.pooled)
            for c, size, i in zip(channels, sizes, (*events, *looks), strict=True)
        ]
        self._windows = [n for window in geometry for n in window]
        self._threshold, self._v = spread(threshold, self.shape), spread(v, self.shape)
        self._bias = (None, 1, 0) if bias is None else spread_bias(bias, self.shape)
        self._device = threshold.device
        self._splits: dict[tuple[int, int], Split] = {}

    @property
    def label(self) -> str:
        """How it runs, for a report."""
        return f"CUDA events, {self.split or 'shared out by shape'}"

    def choices(self, batch: int, T: int) -> tuple[Split | None, ...]:
        """Ways to the same result that are worth measuring: by shape, and to share out the work."""
        own, positions = self.shape[-1] // self.groups, batch * prod(self.out)
        most, processors = self._most_outputs(T), _gpu.processors(self._device)
        found = []
        for outputs in (n for n in (1, 2, 4) if n <= most and (n == 1 or LANES * n < 2 * own)):
            for parts in (1, 2, 4, 8):
                # sums are shared where there is little else to share out
                if parts == 1 or (parts <= self.chunks and self._tiles(positions, outputs, parts) <= 8 * processors):
                    found.append(Split(outputs, parts))
        return (None, *(split for split in found if split != self.usual(batch, T)))

    def choose(self, split: Split | None) -> None:
        """Takes a way to share out the work for every batch size; None leaves it to the shape."""
        self.split = split

    def remember(self, split: Split | None, batch: int, T: int) -> None:
        """Takes it for this shape and batch from now on, in later processes too."""
        SPLITS.store(self._key(batch, T), split or self.usual(batch, T), self._device)
        self._splits.pop((batch, T), None)

    def split_for(self, batch: int, T: int) -> Split:
        """How a launch shares out the work."""
        if self.split is not None:
            return self.split
        if (batch, T) not in self._splits:
            known = SPLITS.find(self._key(batch, T), self._device)
            self._splits[batch, T] = known or self.usual(batch, T)
        return self._splits[batch, T]

    def _key(self, batch: int, T: int) -> str:
        numbers = (batch, self._steps(T), self.out, self.shape[-1], self.groups, self._counts, self._windows)
        return f"{self.operand} {self.sums} {numbers}"

    def usual(self, batch: int, T: int) -> Split:
        """What is taken where nothing was measured: warps share sums until every multiprocessor has work."""
        own, positions = self.shape[-1] // self.groups, batch * prod(self.out)
        outputs = self._most_outputs(T)
        while outputs > 1 and LANES * outputs >= 2 * own:
            outputs //= 2
        processors = _gpu.processors(self._device)
        parts = 1
        while (
            parts < WARPS
            and self.chunks >= 2 * parts * LEAST_CHUNKS
            and self._tiles(positions, outputs, parts) < (2 * processors)
        ):
            parts *= 2
        while outputs > 1 and self._tiles(positions, outputs, parts) < processors:
            outputs //= 2
        return Split(outputs, parts)

    def __call__(
        self,
        words: Sequence[Tensor],
        T: int,
        v: Tensor | None = None,
        keep: bool = True,
        bias: Tensor | None = None,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """T steps: (words [B, *S', O], potentials after them, or None where they are not to be kept).

        words   [B, *S_i, C_i] each, packed, but that the channels of a position may be followed by unused ones
        v       contiguous potentials [B, *S', O] to go on from; None for those of a fresh run
        bias    in place of the plan's, [B, *S', O]
        out     words to write to, packed like `words`
        """
        batch, device = words[0].shape[0], words[0].device
        shape = (batch, *self.shape[1:])
        out = torch.empty(shape, dtype=word_dtype(T), device=device) if out is None else out
        after = torch.empty(shape, dtype=self.dtype, device=device) if keep else None
        positions = batch * prod(self.out)
        if positions == 0:
            return out, after
        start, v_repeat = self._v if v is None else (v, positions)
        add, bias_repeat, bias_step = self._bias
        if bias is not None:
            add, bias_repeat, bias_step = bias.expand(shape).contiguous(), positions, 0
        theta, threshold_repeat = self._threshold
        seen = [words[source] for source in self._order]
        empty = [0] * (MOST_INPUTS - len(seen))
        split = self.split_for(batch, T)
        values = (
            *(w.data_ptr() for w in seen), *empty,
            *(w.data_ptr() for w in self._weights), *empty,
            *map(_cuda.address, (start, theta, add, out, after)),
            *(_cuda.pitch(w) for w in seen), *empty,
            positions, v_repeat, threshold_repeat, bias_repeat, bias_step, _cuda.pitch(out),
            *(w.element_size() for w in seen), *empty,
            *self._windows, *[0] * (WINDOW * len(empty)),
            *self._counts, T, self.shape[-1] // self.groups, self.groups, self._row(), split.parts, *self.rules,
            *self.out,
        )  # fmt: skip
        kernel = instance(self.operand, self.dtype, self.sums, out.dtype, split.outputs, self._steps(T))
        shared = WARPS // 2 * kernel_sums(split.outputs, self._steps(T), self.sums) if split.parts > 1 else 0
        grid = (min(self._tiles(positions, split.outputs, split.parts), _cuda.MOST_BLOCKS),)
        _cuda.launch(kernel, grid, values, words[0], shared)
        return out, after

    def _tiles(self, positions: int, outputs: int, parts: int) -> int:
        own = self.shape[-1] // self.groups
        return -(-positions // (WARPS // parts)) * -(-own // (LANES * outputs)) * self.groups

    def _steps(self, T: int) -> int:
        """Steps that the kernel has room for."""
        return 8 if T <= 8 else 16 if T <= 16 else 32

    def _most_outputs(self, T: int) -> int:
        size = self.sums.itemsize
        return min(max(ROOM // (self._steps(T) * size), 1), STEP_ROOM // size)

    def _row(self) -> int:
        return -(-(self.shape[-1] // self.groups) // ROW) * ROW

    def _rows(self, event: Input) -> Tensor:
        """Weights [O, C, d, h, w] as [groups, taps, C, row]: what one input neuron adds to all outputs of its group."""
        weight = event.weight.to(self.operand)
        flat = weight.reshape(self.groups, -1, *weight.shape[1:]).flatten(3).permute(0, 3, 2, 1)
        rows = flat.new_zeros((*flat.shape[:3], self._row()))
        rows[..., : flat.shape[3]] = flat
        return rows

    def _taps(self, look: Input) -> Tensor:
        """Weights [O, 1, d, h, w] as [taps, O], as wide as sums that need no more room than a weight."""
        kind = torch.int32 if self.sums == torch.int64 else self.sums
        return look.weight.flatten(1).T.to(kind).contiguous()


# numbers that describe one window in csrc/layer/term.cuh
WINDOW = 19
FORMAT = f"<{2 * MOST_INPUTS + 5}q{MOST_INPUTS + 6}q{MOST_INPUTS}i{WINDOW * MOST_INPUTS}i12i"


def kernel_sums(outputs: int, steps: int, sums: torch.dtype) -> int:
    """Bytes that the sums of one warp take."""
    return outputs * steps * LANES * sums.itemsize


def instance(
    operand: torch.dtype, values: torch.dtype, sums: torch.dtype, words: torch.dtype, outputs: int, steps: int
) -> _cuda.Kernel:
    """The kernel for weights, neurons, sums and words of a type; `outputs` a lane, for up to `steps` steps."""
    kinds = [_cuda.TYPES[kind] for kind in (operand, values, sums)]
    arguments = ", ".join([*kinds, _cuda.WORDS[words], str(outputs), str(steps)])
    return _cuda.Kernel("layer/layer.cu", f"layer<{arguments}>", "LayerCall", FORMAT, LANES * WARPS, 2)
