"""Max pooling of what neurons have emitted in sum: a window emits what the largest sum of its inputs changes by.

    sum_i[t] = what input i has emitted up to step t;   out[t] = max_i sum_i[t] - max_i sum_i[t - 1]

After any step the window has emitted as much as its most active input, and where spikes are taken back, so does it.

Source: Li, Zeng, IJCAI 2022 (LIPooling).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn.emission import emitted
from fastsnn.ops.pack import pack
from fastsnn.windows import largest


def pooled(words: Tensor, sums: Tensor, index: Tensor, amplitudes: Sequence[int], T: int) -> tuple[Tensor, Tensor]:
    """(words of the windows [B, P_out, C], sums after T steps), with planes in front where there are several.

    words   [B, *S, C], or [planes, B, *S, C]
    sums    int32 [B, *S, C], what inputs have emitted before
    index   [P_out, window] into the positions, -1 for none
    """
    before = largest(sums, index)
    found: list[list[Tensor]] = [[] for _ in amplitudes]
    for t in range(T):
        sums = sums + emitted(words, amplitudes, t).to(sums.dtype)
        now = largest(sums, index)
        rest, before = now - before, now
        for plane, amplitude in zip(found, amplitudes, strict=True):
            fired = rest >= amplitude if amplitude > 0 else rest <= amplitude
            rest = rest - amplitude * fired
            plane.append(fired.to(torch.uint8))
    planes = [pack(torch.stack(plane)) for plane in found]
    return (torch.stack(planes) if len(planes) > 1 else planes[0]), sums
