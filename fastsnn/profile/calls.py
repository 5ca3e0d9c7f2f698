"""What one call of an operator does, as seen from outside: the spikes that go in and out, and what they reach."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

from fastsnn.profile.schema import Bytes
from fastsnn.profile.traffic import FLOAT, float_steps
from fastsnn.program import ConvTerm
from fastsnn.program.connections import conv_fan_out, conv_macs, is_pooling, linear_fan_out, window_fan_out
from fastsnn.windows import window_index


@dataclass(frozen=True)
class Read:
    """Packed spikes that a call reads, and their fan-out [*S, C]."""

    words: Tensor
    kind: str
    fan_out: Tensor


@dataclass(frozen=True)
class Call:
    """One call.

    kind       in words
    T          its time-steps; 0 of one that knows no time
    shape      of its result without the batch, channels last
    reads      spikes that go in
    words      spikes of neurons that come out
    macs       multiplications of numbers that are no spikes, over the whole batch
    existing, with_borders    multiplications of the same layer in a dense network, for one image
    weights, inputs           how many numbers: weights and biases, and those read for one image
    bytes      of this call
    """

    kind: str
    T: int
    shape: tuple[int, ...]
    reads: list[Read] = field(default_factory=list)
    words: Tensor | None = None
    macs: int = 0
    existing: int = 0
    with_borders: int = 0
    weights: int = 0
    inputs: int = 0
    bytes: Bytes = field(default_factory=lambda: _bytes(0, 0, 0, 0))


def conv_if(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: list[int],
    *_: Any,
    out: Any,
) -> Call:
    dims = words[0].ndim - 2
    reads, existing, borders, kinds = [], 0, 0, []
    for i, (w, weight) in enumerate(zip(words, weights, strict=True)):
        part = slice(i * dims, (i + 1) * dims)
        geometry = (tuple(stride[part]), tuple(padding[part]), tuple(dilation[part]))
        sizes = tuple(w.shape[1:-1])
        kind = _kind(ConvTerm("", weight, (), *geometry, groups[i]))
        reads.append(Read(w, kind, conv_fan_out(sizes, weight, *geometry, groups[i])))
        kinds.append({"synapses": "conv", "residual": "identity", "pooling": "pool"}[kind])
        if kind == "synapses":
            found = conv_macs(sizes, weight, *geometry, groups[i])
            existing, borders = existing + found[0], borders + found[1]
    found_words = _together(out[0], words[0].ndim)
    return _layer("+".join(kinds) + " + IF", T, reads, weights, bias, found_words, existing, borders)


def linear_if(
    words: list[Tensor],
    weights: list[Tensor],
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    T: int,
    *_: Any,
    out: Any,
) -> Call:
    reads = [Read(w, "synapses", linear_fan_out(weight)) for w, weight in zip(words, weights, strict=True)]
    existing = sum(int(read.fan_out.sum()) for read in reads)
    kind = "+".join(["linear"] * len(words)) + " + IF"
    return _layer(kind, T, reads, weights, bias, _together(out[0], 2), existing, sum(w.numel() for w in weights))


def if_steps(currents: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, *_: Any, out: Any) -> Call:
    return _neurons(currents, bias, len(currents), _together(out[0], currents.ndim - 1))


def if_constant(current: Tensor, v: Tensor, threshold: Tensor, bias: Tensor | None, T: int, *_: Any, out: Any) -> Call:
    return _neurons(current, bias, T, _together(out[0], current.ndim))


def pool(words: Tensor, *more: Any, out: Any) -> Call:
    """pool_or, pool_counts (words, T, geometry) and pool_gate (words, counts, T, geometry)."""
    T, *geometry = more[1:] if isinstance(more[0], Tensor) else more
    result = out[0] if isinstance(out, tuple) else out
    index, _ = window_index(words.shape[1:-1], *geometry)
    there = torch.ones(*index.shape, 1, dtype=torch.bool)
    reads = [Read(words, "pooling", window_fan_out(index, there, tuple(words.shape[1:])))]
    moved = _size(words), _size(result)
    simulated = float_steps(0, words.numel(), result.numel(), 0, T)
    inputs, found = words[:1].numel(), _bytes(0, *moved, simulated)
    return Call("max or sum pool", T, tuple(result.shape[1:]), reads, inputs=inputs, bytes=found)


def readout(words: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, T: int, *_: Any, out: Any) -> Call:
    reads = [Read(words, "synapses", linear_fan_out(weight))]
    simulated = float_steps(weight.numel(), words.numel(), len(words) * len(weight), 0, T)
    moved = _bytes(_size(weight, bias), _size(words), _size(out[0]), simulated)
    existing = int(reads[0].fan_out.sum())
    numbers = _numel(weight, bias)
    return Call("readout", T, (len(weight),), reads, None, 0, existing, weight.numel(), numbers, words.shape[1], moved)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    *,
    out: Any,
) -> Call:
    sizes = tuple(x.shape[2:])
    if transposed:
        existing = borders = prod(sizes) * weight.numel()
    else:
        existing, borders = conv_macs(sizes, weight, stride, padding, dilation, groups)
    shape = (*out.shape[2:], out.shape[1])
    return _dense("conv", shape, existing, borders, x, weight, bias, out)


def addmm(bias: Tensor, x: Tensor, y: Tensor, *_: Any, out: Any, **__: Any) -> Call:
    return _product(x, y, bias, out)


def mm(x: Tensor, y: Tensor, *_: Any, out: Any) -> Call:
    return _product(x, y, None, out)


# the operators that are read; all others move or compare numbers
READERS: dict[str, Callable[..., Call]] = {
    "fastsnn::conv_if": conv_if,
    "fastsnn::linear_if": linear_if,
    "fastsnn::if_steps": if_steps,
    "fastsnn::if_constant": if_constant,
    "fastsnn::pool_or": pool,
    "fastsnn::pool_gate": pool,
    "fastsnn::pool_counts": pool,
    "fastsnn::readout": readout,
    "aten::convolution": convolution,
    "aten::addmm": addmm,
    "aten::mm": mm,
}


def _layer(
    kind: str,
    T: int,
    reads: list[Read],
    weights: list[Tensor],
    bias: Tensor | None,
    words: Tensor,
    existing: int,
    borders: int,
) -> Call:
    numbers, inputs = _numel(*weights, bias), sum(read.words.numel() for read in reads)
    simulated = float_steps(numbers, inputs, words.numel(), words.numel(), T)
    moved = _bytes(_size(*weights, bias), _size(*(r.words for r in reads)), _size(words), simulated)
    shape, each = tuple(words.shape[1:]), inputs // max(len(words), 1)
    return Call(kind, T, shape, reads, words, 0, existing, borders, numbers, each, moved)


def _neurons(current: Tensor, bias: Tensor | None, T: int, words: Tensor) -> Call:
    moved = _bytes(_size(bias), _size(current), _size(words), 4 * FLOAT * T * words.numel())
    return Call("IF", T, tuple(words.shape[1:]), [], words, inputs=words[:1].numel(), bytes=moved)


def _product(x: Tensor, y: Tensor, bias: Tensor | None, out: Tensor) -> Call:
    return _dense("linear", tuple(out.shape[1:]), int((y != 0).sum()), y.numel(), x, y, bias, out)


def _dense(
    kind: str,
    shape: tuple[int, ...],
    existing: int,
    borders: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    out: Tensor,
) -> Call:
    weights, read, written = _size(weight, bias), _size(x), _size(out)
    moved = _bytes(weights, read, written, weights + read + written)
    inputs = x.numel() // max(len(x), 1)
    macs = len(x) * existing
    return Call(kind, 0, shape, [], None, macs, existing, borders, _numel(weight, bias), inputs, moved)


def _together(words: Tensor, ndim: int) -> Tensor:
    """Words of neurons with `ndim` dimensions; those of several planes as the words of more images."""
    return words.flatten(0, 1) if words.ndim > ndim else words


def _kind(term: ConvTerm) -> str:
    depthwise = term.weight.shape[1] == 1 and term.groups == len(term.weight)
    if depthwise and term.weight[0].numel() == 1:
        return "residual"
    return "pooling" if is_pooling(term) else "synapses"


def _numel(*tensors: Tensor | None) -> int:
    return sum(t.numel() for t in tensors if t is not None)


def _size(*tensors: Tensor | None) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def _bytes(weights: int, read: int, written: int, simulated: int) -> Bytes:
    return {"weights": weights, "read": read, "written": written, "potentials": 0, "float_simulation": simulated}
