"""The definition of pooling over packed spikes, in plain torch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn.ops._step import spikes_at
from fastsnn.spikes import word_dtype
from fastsnn.windows import largest, window_index

Size = Sequence[int]


def _windows(x: Tensor, index: Tensor, outside: int) -> Tensor:
    """[B, P, C] -> [B, P_out, window, C], with `outside` where the index is -1."""
    edge = x.new_full((x.shape[0], 1, x.shape[2]), outside)
    return torch.cat([x, edge], dim=1)[:, index]


def _setup(
    words: Tensor, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Tensor, tuple[int, ...]]:
    index, out = window_index(words.shape[1:-1], kernel, stride, padding, dilation, ceil_mode)
    return index.to(words.device), (words.shape[0], *out, words.shape[-1])


def pool_or(
    words: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> Tensor:
    index, shape = _setup(words, kernel, stride, padding, dilation, ceil_mode)
    flat = words.flatten(1, -2)
    pooled = torch.zeros(shape, dtype=torch.int64, device=words.device)
    for t in range(T):
        spikes = _windows(spikes_at(flat, t), index, 0).amax(2).reshape(shape)
        pooled |= spikes.to(torch.int64) << t
    return pooled.to(word_dtype(T))


def pool_gate(
    words: Tensor, counts: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    index, shape = _setup(words, kernel, stride, padding, dilation, ceil_mode)
    flat = words.flatten(1, -2)
    so_far = counts.flatten(1, -2).clone()
    # argmax may return any of several equals; a growing penalty below one spike makes it the first
    window = index.shape[1]
    rank = torch.arange(window - 1, -1, -1, device=words.device)[:, None]
    pooled = torch.zeros(shape, dtype=torch.int64, device=words.device)
    for t in range(T):
        spikes = spikes_at(flat, t).to(torch.int64)
        so_far += spikes.to(torch.int32)
        first = (_windows(so_far.to(torch.int64), index, -1) * window + rank).argmax(2, keepdim=True)
        passed = _windows(spikes, index, 0).gather(2, first).reshape(shape)
        pooled |= passed << t
    return pooled.to(word_dtype(T)), so_far.reshape(counts.shape)


def pool_lateral(
    words: Tensor, sums: Tensor, T: int, amplitudes: Size, kernel: Size, stride: Size, padding: Size, dilation: Size,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    index, shape = _setup(sums, kernel, stride, padding, dilation, ceil_mode)
    planes = words if len(amplitudes) > 1 else words[None]
    pooled = torch.zeros((len(amplitudes), *shape), dtype=torch.int64, device=words.device)
    before = largest(sums, index)
    for t in range(T):
        sums = sums + sum(spikes_at(plane, t).to(torch.int32) * a for plane, a in zip(planes, amplitudes, strict=True))
        now = largest(sums, index)
        rest, before = now - before, now
        for p, amplitude in enumerate(amplitudes):
            fired = rest >= amplitude if amplitude > 0 else rest <= amplitude
            rest = rest - amplitude * fired
            pooled[p] |= fired.reshape(shape).to(torch.int64) << t
    return (pooled if len(amplitudes) > 1 else pooled[0]).to(word_dtype(T)), sums


def pool_counts(
    words: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> Tensor:
    index, shape = _setup(words, kernel, stride, padding, dilation, ceil_mode)
    flat = words.flatten(1, -2)
    total = torch.zeros(shape, dtype=torch.int32, device=words.device)
    for t in range(T):
        total += _windows(spikes_at(flat, t).to(torch.int32), index, 0).sum(2, dtype=torch.int32).reshape(shape)
    return total
