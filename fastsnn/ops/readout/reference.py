"""The definition of readout, in plain torch."""

import torch
from torch import Tensor

from fastsnn.ops._step import spikes_at


def readout(
    words: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, T: int, steps_before: int, over_time: bool
) -> tuple[Tensor, Tensor]:
    prefix = torch.stack([spikes_at(words, t).to(torch.int32) for t in range(T)]).cumsum(0, dtype=torch.int32) + counts
    after = prefix[-1].clone()
    steps = torch.arange(1, T + 1, device=words.device)[:, None, None] + steps_before
    if not over_time:
        prefix, steps = prefix[-1], steps[-1, 0, 0]
    logits = (prefix.to(weight.dtype) @ weight.T) / steps
    return (logits if bias is None else logits + bias), after
