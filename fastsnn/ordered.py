"""Spikes in order: a neuron that knows all of its input fires as often as that allows, and from the first step on."""

import torch
from torch import Tensor

from fastsnn._registry import choose
from fastsnn.ops import pack


def in_order(words: Tensor, v: Tensor, threshold: Tensor, T: int) -> Tensor:
    """Words of the spikes clip(floor((V(0) + sum of currents) / threshold), 0, T), all ones first.

    words, v   of the same neurons run step by step with soft reset: V(0) + sum of currents = v + spikes * threshold

    Source: Hao et al., ICML 2025 (parallel conversion): s[t] = 1 where the whole sum reaches t thresholds.
    """
    counts = choose("counts", pack.op.COUNTS_BACKENDS, words)(words.contiguous())
    spikes = (counts + torch.div(v, threshold, rounding_mode="floor")).clamp_(0, T).to(torch.int64)
    return ((1 << spikes) - 1).to(words.dtype)
