"""What an exact first layer computes, from sums in 64 bits."""

from itertools import product

from torch.nn import functional as F

MOST = 2**30


def summed(x, weight, bias, shift, stride, padding, dilation, groups):
    """Of x [B, *S, C] and weight [O, C / groups, *kernel], one product for each kernel offset: [B, *S', O] int32."""
    pads = [p for pad in reversed(padding) for p in (pad, pad)]
    x = F.pad(x.long(), (0, 0, *pads))
    ends = [s - d * (k - 1) for s, d, k in zip(x.shape[1:-1], dilation, weight.shape[2:], strict=True)]
    total = 0
    for offset in product(*map(range, weight.shape[2:])):
        at = tuple(slice(o * d, o * d + e, s) for o, d, e, s in zip(offset, dilation, ends, stride, strict=True))
        seen = x[(slice(None), *at)].unflatten(-1, (groups, 1, -1))
        used = weight[(slice(None), slice(None), *offset)].long().unflatten(0, (groups, -1))
        total = total + (seen * used).sum(-1).flatten(-2)
    total = (total + (1 << shift >> 1)) >> shift if shift > 0 else total << -shift
    return (total + bias).clamp(1 - MOST, MOST - 1).int()
