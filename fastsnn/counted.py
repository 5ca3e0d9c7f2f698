"""How much is emitted in each window at a step: digits of binary numbers, added up for all steps of a word at once."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from fastsnn.program import CountLayer


def counted(layer: CountLayer, words: Tensor) -> Tensor:
    """Words of the planes of a layer, [planes, B, *S', C], or [B, *S', C] of one, from those of its source.

    words   [B, *S, C], or [planes, B, *S, C] where the source has several
    """
    planes = words if len(layer.counted) > 1 else words[None]
    # a position without spikes stands where a window has none
    flat = pad(planes.flatten(2, -2), (0, 0, 0, 1))
    index = torch.where(layer.index < 0, flat.shape[2] - 1, layer.index).T
    windows = flat.index_select(2, index.flatten()).unflatten(2, index.shape).movedim(2, 1)
    found: list[Tensor] = []
    for digits, sign in zip(layer.digits, (1, -1), strict=True):
        found += reversed(_digits(windows, [sign * a for a in layer.counted], digits))
    result = torch.stack(found).reshape(len(found), planes.shape[1], *layer.shape)
    return result if len(found) > 1 else result[0]


def _digits(windows: Tensor, times: Sequence[int], digits: int) -> list[Tensor]:
    """Digits, the smallest first, of the sums of words [planes, window, *N], each plane so many times; none below 1."""
    carried: list[Tensor] = []
    found = []
    for k in range(digits):
        own = [plane for plane, n in zip(windows, times, strict=True) if n > 0 and n >> k & 1]
        bits = torch.cat([*own, *carried]) if own or carried else torch.zeros_like(windows[0, :1])
        carried = []
        while len(bits) > 1:
            # two or three bits of a place are one of it and one of the next
            n = len(bits) // 3
            first, second, third = bits[: 3 * n].unflatten(0, (n, 3)).unbind(1) if n else (*bits.split(1), None)
            odd = first ^ second
            carry = first & second
            carried.append(carry if third is None else carry | (odd & third))
            bits = odd if third is None else torch.cat([odd ^ third, bits[3 * n :]])
        found.append(bits[0])
    return found
