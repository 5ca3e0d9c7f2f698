"""The definition of restart, in plain torch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn.ops._step import LIMIT, spikes_at

# how far beyond the threshold a start is put, so that rounding decides nothing
BEYOND = 1e-3


def restart(words: Sequence[Tensor], v: Sequence[Tensor], threshold: Tensor, start: Tensor) -> Tensor:
    theta, last = threshold.double(), v[-1].double()
    fired, missed = torch.full_like(last, torch.inf), torch.full_like(last, -torch.inf)
    for word, after in zip(words, v, strict=True):
        spike = spikes_at(word, 0).bool()
        before = after.double() + spike * theta
        fired = torch.where(spike, torch.minimum(fired, before), fired)
        missed = torch.where(spike, missed, torch.maximum(missed, before))
    less = torch.maximum(theta, fired - (1 - BEYOND) * theta)
    more = torch.maximum(theta, (1 + BEYOND) * theta - missed)
    off = torch.where((last < 0) & fired.isfinite(), -less, torch.zeros_like(last))
    off = torch.where((last >= theta) & missed.isfinite(), more, off)
    found = start.double() + off
    return (found if v[-1].is_floating_point() else found.round().clamp(-LIMIT, LIMIT)).to(v[-1].dtype)
