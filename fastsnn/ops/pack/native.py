"""The pack family on the CPU, in C++: outputs allocated here, addresses handed to fastsnn._cpu."""

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.spikes import word_dtype


def pack(spikes: Tensor) -> Tensor:
    T, *shape = spikes.shape
    words = torch.empty(shape, dtype=word_dtype(T))
    _native.load().pack(spikes.data_ptr(), words.data_ptr(), T, words.numel(), words.element_size())
    return words


def unpack(words: Tensor, T: int) -> Tensor:
    spikes = torch.empty((T, *words.shape), dtype=torch.uint8)
    _native.load().unpack(words.data_ptr(), spikes.data_ptr(), T, words.numel(), words.element_size())
    return spikes


def counts(words: Tensor) -> Tensor:
    counts = torch.empty(words.shape, dtype=torch.int32)
    _native.load().counts(words.data_ptr(), counts.data_ptr(), words.numel(), words.element_size())
    return counts
