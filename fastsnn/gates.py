"""Max pooling of spikes over a chunk of steps: by what inputs emitted in sum, which goes on from chunk to chunk."""

import torch
from torch import Tensor

from fastsnn._registry import choose
from fastsnn.ops import pool
from fastsnn.program import GateLayer


def gated(layer: GateLayer, words: Tensor, T: int, so_far: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """(words of the windows, what each input has emitted so far, or None where that does not matter).

    words   [B, *S, C], or [planes, B, *S, C], with more channels than the layer has where they are padded
    so_far  int32 [B, *S, C], as a chunk before has left it; None in the first
    """
    p = layer.pooling
    geometry = (p.kernel, p.stride, p.padding, p.dilation, p.ceil_mode)
    if layer.policy == "or":
        return choose("pool_or", pool.op.BACKENDS, words)(words, T, *geometry), None
    if so_far is None:
        so_far = torch.zeros(words.shape[-len(p.kernel) - 2 :], dtype=torch.int32, device=words.device)
    if layer.policy == "lateral":
        run = choose("pool_lateral", pool.op.LATERAL_BACKENDS, words)
        return run(words, so_far, T, layer.amplitudes, *geometry)
    return choose("pool_gate", pool.op.GATE_BACKENDS, words)(words, so_far, T, *geometry)
