"""The definition of packing, in plain torch."""

import torch
from torch import Tensor

from fastsnn.ops._step import spikes_at
from fastsnn.spikes import word_dtype


def pack(spikes: Tensor) -> Tensor:
    words = torch.zeros(spikes.shape[1:], dtype=torch.int64, device=spikes.device)
    for t, fired in enumerate(spikes):
        words |= (fired != 0).to(torch.int64) << t
    return words.to(word_dtype(spikes.shape[0]))


def unpack(words: Tensor, T: int) -> Tensor:
    return torch.stack([spikes_at(words, t).to(torch.uint8) for t in range(T)])


def counts(words: Tensor) -> Tensor:
    return unpack(words, 8 * words.element_size()).sum(0, dtype=torch.int32)
