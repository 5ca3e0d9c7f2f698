"""The neurons of the hand-made rival in one kernel: all steps of dense currents in, dense spikes out."""

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _fire(
    current,
    added,
    bias,
    threshold,
    out,
    count,
    channels,
    T: tl.constexpr,
    CONSTANT: tl.constexpr,
    ADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    channel = (at % channels).to(tl.int32)
    add = tl.load(bias + channel, mask=inside, other=0.0)
    theta = tl.load(threshold + channel, mask=inside, other=1.0)
    u = 0.5 * theta
    drive = add
    if CONSTANT:
        drive = tl.load(current + at, mask=inside, other=0.0).to(tl.float32) + add
    for t in tl.static_range(T):
        place = t * count.to(tl.int64) + at
        if not CONSTANT:
            drive = tl.load(current + place, mask=inside, other=0.0).to(tl.float32) + add
            if ADDED:
                drive += tl.load(added + place, mask=inside, other=0.0).to(tl.float32)
        u += drive
        fired = u >= theta
        tl.store(out + place, tl.where(fired, theta, 0.0).to(out.dtype.element_ty), mask=inside)
        u = tl.where(fired, u - theta, u)


def fire(
    current: Tensor, added: Tensor | None, bias: Tensor, threshold: Tensor, out: Tensor, T: int, constant: bool
) -> Tensor:
    """Writes T steps of spikes times their threshold to `out`, and returns it.

    current    [T * B, *N, C] in memory, or [B, *N, C] where it is constant: float16 or float32
    added      a second current of the same form, or None; not with a constant one
    bias, threshold
               [C] float32
    out        [T * B, *N, C] in memory, in the dtype of the currents
    """
    count = out.numel() // T
    _fire[(triton.cdiv(count, BLOCK),)](
        current,
        current if added is None else added,
        bias,
        threshold,
        out,
        count,
        len(bias),
        T=T,
        CONSTANT=constant,
        ADDED=added is not None,
        BLOCK=BLOCK,
        num_warps=4,
    )
    return out
