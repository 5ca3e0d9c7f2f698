"""Spikes of neurons that know all of their input before they fire: as many as it allows, in order or at random.

They are run step by step first, as any other. Soft reset loses no charge, so that afterwards

    V(0) + sum of all currents = v + spikes * threshold

and what they emit follows from that sum. Exact in fixed point as long as nothing saturates.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn._registry import choose
from fastsnn.neurons import Neuron
from fastsnn.ops import pack
from fastsnn.ops._step import spikes_at

# of a hash of 32 bits: Murmur3's last steps, and odd numbers that set its inputs apart
MASK, FIRST, SECOND = 2**32 - 1, 0x85EBCA6B, 0xC2B2AE35
SPREAD, STEP = 0x9E3779B1, 0x27D4EB2F


def emitted(words: Tensor, amplitudes: Sequence[int], t: int) -> Tensor:
    """What neurons emit at step t, in thresholds: int64 [*N], from words [*N], or [planes, *N] of several planes."""
    planes = words if len(amplitudes) > 1 else words[None]
    found = torch.zeros(planes.shape[1:], dtype=torch.int64, device=words.device)
    for plane, amplitude in zip(planes, amplitudes, strict=True):
        found += spikes_at(plane, t).to(torch.int64) * amplitude
    return found


def output(words: Tensor, neuron: Neuron, T: int, first: int = 0) -> Tensor:
    """What T steps add to the sum that the mean output is, float64 [*N]; it is divided by `neuron.steps_of` a run.

    first   steps of the run before these
    """
    weights = [1 / (first + t + 1) if neuron.differential else 1.0 for t in range(T)]
    amplitudes = neuron.firing.amplitudes
    return torch.stack([emitted(words, amplitudes, t).double() * weight for t, weight in enumerate(weights)]).sum(0)


def in_order(words: Tensor, v: Tensor, threshold: Tensor, T: int) -> Tensor:
    """Words of clip(floor(sum / threshold), 0, T) spikes, all ones first.

    words, v   of the same neurons run step by step

    Source: Hao et al., ICML 2025 (parallel conversion): s[t] = 1 where the sum reaches t thresholds.
    """
    spikes = _spikes(words) + torch.div(v, threshold, rounding_mode="floor")
    return ((1 << spikes.clamp_(0, T).to(torch.int64)) - 1).to(words.dtype)


def at_random(words: Tensor, v: Tensor, threshold: Tensor, T: int, seed: int) -> Tensor:
    """Words of spikes that are drawn, step by step, with the probability that would use up what is left of the sum.

        p[t] = clip(sum / (threshold (T - t + 1)), 0, 1);   sum -= s[t] threshold

    seed   the same seed and batch give the same spikes, on any device: numbers are a hash of seed, neuron and step

    Source: Bojkovic, Wu, Gu, ICML 2025 (TPP); the formula as recalled, not from the paper.
    """
    left = v.double() / threshold.double() + _spikes(words)
    neurons = torch.arange(words.numel(), device=words.device).reshape(words.shape)
    found = torch.zeros(words.shape, dtype=torch.int64, device=words.device)
    for t in range(T):
        fires = uniform(neurons, seed, t) < (left / (T - t)).clamp(0, 1)
        left = left - fires.double()
        found |= fires.to(torch.int64) << t
    return found.to(words.dtype)


def uniform(index: Tensor, seed: int, step: int) -> Tensor:
    """A number in [0, 1) for each index int64, float64: the same on every device."""
    x = (index * SPREAD + (seed * FIRST + step * STEP) % 2**32) & MASK
    for shift, factor in ((16, FIRST), (13, SECOND)):
        x = ((x ^ (x >> shift)) * factor) & MASK
    return (x ^ (x >> 16)).double() / 2**32


def _spikes(words: Tensor) -> Tensor:
    return choose("counts", pack.op.COUNTS_BACKENDS, words)(words.contiguous())
