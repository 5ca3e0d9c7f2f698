"""The event-driven layer of the native module: weights packed once, then run on words any number of times."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.firing import firing_of
from fastsnn.ops import _rule, _three
from fastsnn.ops._step import goes_on, value_dtype
from fastsnn.spikes import word_dtype

NUMBERS = {torch.int16: "i16", torch.int32: "i32", torch.float32: "f32", torch.float64: "f64"}
# how many registers a block of outputs may take, and how its weights are found: what there is to choose from
VECTORS = (1, 2, 4, 8)
WAYS = ("chosen", "lists", "streams", "code", "tiles", "words")


def single_ways() -> tuple[str, ...]:
    """Ways that take one register, as far as this processor may gain by them."""
    return ("code", "tiles") if _native.load().tiles() == "hardware" else ("code",)


class Plan:
    """A layer of spiking neurons driven by convolutions of words, or by linear maps (no spatial dimensions).

    inputs      shape [*S_i, C_i] of each input's words without the batch
    weights     [O, C_i / groups_i, *kernel_i] each, contiguous, of one dtype or ones that are stored in fewer bits
    shape       of the neurons, [B, *S', O]; B is 1 where nothing spreads over the batch
    threshold, v, bias
                tensors that spread over `shape`, bias also over steps before it; v is the potential of a fresh run
    stride, padding, dilation, groups
                as in `conv_if`: one number for each input and spatial dimension, and for each input
    vectors     registers of a block, one of VECTORS; 0 chooses by the layer's shape
    way         one of WAYS. "lists" of the spikes that one output sums; "streams" of those that a row of outputs sums,
                one part of the weights after another (convolutions without groups in fixed point); "code" that these
                become (the same, with AVX-512 and one register); "tiles" multiplies all of them with the weights, as
                matrices of 8-bit numbers (the same again, fast with AMX only); "words" looks at every word of grouped
                convolutions at every step. What a layer cannot do is done from lists. Never a different result, and
                neither is `vectors`
    bias_varies the calls may bring any biases, below 2^30 in fixed point; else such as do not reach beyond `bias`

    reset       as in operators: "soft", "hard", or a code of `fastsnn.firing`

    Nothing is checked here: `conv_if` and `linear_if` have. A plan may run in several threads at once.
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
        vectors: int = 0,
        way: str = "chosen",
        bias_varies: bool = False,
    ) -> None:
        cpu = _native.load()
        weights = [w.to(value_dtype(w.dtype)) for w in weights]
        self.dtype, self.shape, self._way = weights[0].dtype, tuple(shape), way
        self.firing = firing_of(reset)
        self._plain = self.firing.plain
        dims = len(shape) - 2
        exact = not self.dtype.is_floating_point
        reach = float(bias.double().abs().max()) if exact and bias is not None and bias.numel() else 0.0
        reach = 2.0**30 if exact and bias_varies else reach
        least = _rule.least(self.firing, threshold)
        terms = []
        for i, (size, weight) in enumerate(zip(inputs, weights, strict=True)):
            part = slice(i * dims, (i + 1) * dims)
            window = _three.geometry(weight.shape[2:], stride[part], padding[part], dilation[part])
            terms.append(cpu.Term(_three.sizes(size[:-1]), size[-1], groups[i], *window, weight.data_ptr()))
        out = _three.sizes(shape[1:-1])
        number = getattr(cpu.Number, NUMBERS[self.dtype])
        hard, strict = self.firing.reset == "hard", comparator == ">"
        how = getattr(cpu.Way, way)
        self._plan = cpu.Plan(number, terms, out, shape[-1], hard, strict, reach, least, vectors, how)
        # kept, because only their addresses are in the spreads
        self._kept = (threshold, v, bias)
        self._start, self._none = v, cpu.Spread(0, [0] * 6)
        self._threshold = self._spread(threshold)
        self._v = self._none if goes_on(self.firing, v, shape) else self._spread(v)
        self._bias = self._none if bias is None else self._spread(bias)

    @property
    def vectors(self) -> int:
        return self._plan.vectors

    @property
    def label(self) -> str:
        """How it runs, for a report."""
        positions = f", {self.positions} positions" if self.positions > 1 else ""
        return f"{self.way}, {self.vectors} registers{positions}"

    @property
    def way(self) -> str:
        """How weights are found: "lists", "streams", "code", "tiles" or "words"."""
        if self._plan.coded:
            return "code"
        if self._plan.tiled:
            return "tiles"
        return "streams" if self._plan.streamed else "words" if self._way == "words" else "lists"

    @property
    def positions(self) -> int:
        """Neighbouring outputs of a row that one block sums together."""
        return self._plan.positions

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

        words   contiguous, [B, *S_i, C_i] each
        v       contiguous potentials [B, *S', O] to go on from; None for those of a fresh run
        bias    in place of the plan's, spreads over [T, B, *S', O] from the right
        out     contiguous words to write to
        first   steps of the run before these

        Neurons of several planes, or that count: words and potentials are as `if_steps` says.
        """
        batch, firing = words[0].shape[0], self.firing
        shape = (batch, *self.shape[1:])
        out = torch.empty(firing.words_of(shape), dtype=word_dtype(T)) if out is None else out
        after = torch.empty(firing.state_of(shape), dtype=self.dtype) if keep else None
        start, count = self._state(v, shape)
        self._plan.run(
            [w.data_ptr() for w in words],
            [w.element_size() for w in words],
            batch,
            T,
            start,
            self._threshold,
            self._bias if bias is None else self._spread(bias),
            out.data_ptr(),
            out.element_size(),
            0 if after is None else after.data_ptr(),
            None if self._plain else _rule.native(firing.at(first or firing.first), T, self.dtype),
            count,
            torch.get_num_threads(),
        )
        return out, after

    def currents(self, words: Sequence[Tensor], T: int, biased: bool, out: Tensor) -> Tensor:
        """What spikes add to potentials at each step, with the bias or without; neurons have no part in it.

        words  contiguous, [B, *S_i, C_i] each
        out    contiguous [T, B, *S', O] int32 to write to, which is returned

        Raises ValueError where numbers have other than 32 bits, or weights and bias could add up to 2^30.
        """
        self._plan.currents(
            [w.data_ptr() for w in words],
            [w.element_size() for w in words],
            words[0].shape[0],
            T,
            self._bias if biased else self._none,
            out.data_ptr(),
            torch.get_num_threads(),
        )
        return out

    def _state(self, v: Tensor | None, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Where potentials and counts begin, as spreads."""
        if self._plain:
            return self._v if v is None else self._spread(v), self._none
        start = self._start if v is None else v
        if goes_on(self.firing, start, shape):
            return self._spread(start[0]), self._spread(start[1])
        return self._v if v is None else self._spread(v), self._none

    def _spread(self, tensor: Tensor) -> Any:
        """Address and strides of a tensor over [T, B, depth, height, width, O]; 0 where it is one for all."""
        *lead, channel = [0 if n == 1 else s for n, s in zip(tensor.shape, tensor.stride(), strict=True)] or [0]
        dims = len(self.shape) - 2
        lead = [0] * (dims + 2 - len(lead)) + lead
        strides = [*lead[:2], *[0] * (3 - dims), *lead[2:], channel]
        return _native.load().Spread(tensor.data_ptr(), strides)
