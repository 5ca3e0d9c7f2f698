"""The definition of emit, in plain torch."""

import torch
from torch import Tensor

from fastsnn.ops._step import spikes_at

# of a hash of 32 bits: Murmur3's last steps, and odd numbers that set its inputs apart
MASK, FIRST, SECOND = 2**32 - 1, 0x85EBCA6B, 0xC2B2AE35
SPREAD, STEP = 0x9E3779B1, 0x27D4EB2F


def emit(words: Tensor, v: Tensor, threshold: Tensor, T: int, kind: str, seed: int) -> Tensor:
    spikes = torch.stack([spikes_at(words, t).to(torch.uint8) for t in range(T)]).sum(0, dtype=torch.int32)
    if kind == "ordered":
        total = spikes + torch.div(v, threshold, rounding_mode="floor")
        return ((1 << total.clamp(0, T).to(torch.int64)) - 1).to(words.dtype)
    left = v.double() / threshold.double() + spikes
    neurons = torch.arange(words.numel(), device=words.device).reshape(words.shape)
    found = torch.zeros(words.shape, dtype=torch.int64, device=words.device)
    for t in range(T):
        fires = uniform(neurons, seed, t) < (left / (T - t)).clamp(0, 1)
        left = left - fires.double()
        found |= fires.to(torch.int64) << t
    return found.to(words.dtype)


def uniform(index: Tensor, seed: int, step: int) -> Tensor:
    """A number in [0, 1) for each index int64, float64: the same on every device."""
    x = (index * SPREAD + (key(seed) + step * STEP) % 2**32) & MASK
    for shift, factor in ((16, FIRST), (13, SECOND)):
        x = ((x ^ (x >> shift)) * factor) & MASK
    return (x ^ (x >> 16)).double() / 2**32


def key(seed: int) -> int:
    """What a seed adds to the hash's input, in 32 bits."""
    return seed * FIRST % 2**32
