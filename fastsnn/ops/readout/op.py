"""readout: the last linear layer, applied once to spike counts, or to the counts up to every step."""

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.ops import _checks

BACKENDS = (
    Backend("triton", "fastsnn.ops.readout.triton_kernel:readout", _triton.refuse, _triton.reason),
    Backend("cuda", "fastsnn.ops.readout.cuda:readout", _cuda.refuse, _cuda.reason),
    Backend("native", "fastsnn.ops.readout.native:readout", _native.refuse, _native.reason),
    Backend("reference", "fastsnn.ops.readout.reference:readout", lambda *_: None),
)


def readout(
    words: Tensor,
    weight: Tensor,
    T: int,
    *,
    bias: Tensor | None = None,
    counts: Tensor | None = None,
    steps_before: int = 0,
    over_time: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mean logits of a linear layer that has no neuron: weight @ (spikes so far) / (steps so far) + bias.

    words         [B, K], T in 1..32 bits used
    weight        [O, K] float32 or float64;  bias [O]
    counts        [B, K] int32: spikes of each input in the `steps_before` steps before these; default none
    over_time     False: logits after the last step, [B, O]; True: after each step, [T, B, O]

    Returns (logits, counts [B, K] int32 after the last step).
    Raises ValueError for shape or device, TypeError for dtype.
    """
    if counts is None:
        counts = torch.zeros(words.shape, dtype=torch.int32, device=words.device)
    return _readout(words, weight, bias, counts, T, steps_before, over_time)


def _check(words: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, T: int, steps_before: int) -> None:
    _checks.words("readout", words, T)
    if weight.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"readout: weight must be float32 or float64, got {weight.dtype}")
    _checks.same("readout", "weight", weight, weight.dtype, words.device)
    _checks.same("readout", "counts", counts, torch.int32, words.device)
    if words.ndim != 2 or weight.ndim != 2 or weight.shape[1] != words.shape[1] or counts.shape != words.shape:
        raise ValueError(
            "readout: needs words [B, K], weight [O, K] and counts [B, K], "
            f"got {tuple(words.shape)}, {tuple(weight.shape)} and {tuple(counts.shape)}"
        )
    if bias is not None:
        _checks.same("readout", "bias", bias, weight.dtype, words.device)
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"readout: bias must be [O] = {tuple(weight.shape[:1])}, got {tuple(bias.shape)}")
    if steps_before < 0:
        raise ValueError(f"readout: steps_before must not be negative, got {steps_before}")


@torch.library.custom_op("fastsnn::readout", mutates_args=())
def _readout(
    words: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, T: int, steps_before: int, over_time: bool
) -> tuple[Tensor, Tensor]:
    _check(words, weight, bias, counts, T, steps_before)
    run = choose("readout", BACKENDS, words)
    return run(words.contiguous(), weight.contiguous(), bias, counts.contiguous(), T, steps_before, over_time)


@_readout.register_fake
def _(words, weight, bias, counts, T, steps_before, over_time):
    _check(words, weight, bias, counts, T, steps_before)
    shape = (words.shape[0], weight.shape[0])
    return weight.new_empty((T, *shape) if over_time else shape), counts.new_empty(counts.shape)
