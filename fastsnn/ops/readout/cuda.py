"""readout in CUDA: spikes counted into shared memory, multiplied by rows of weights that several images share."""

import torch
from torch import Tensor

from fastsnn import _cuda

# of a block: warps, rows (images, or steps of images), and inputs whose counts it holds at once
WARPS, ROWS, DEPTH = 8, 8, 512
# outputs of a warp, where there are enough to give every warp so many
MOST_EACH = 4


def readout(
    words: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, T: int, steps_before: int, over_time: bool
) -> tuple[Tensor, Tensor]:
    (batch, inputs), outputs = words.shape, weight.shape[0]
    after = torch.empty_like(counts)
    size = (T, batch, outputs) if over_time else (batch, outputs)
    logits = torch.empty(size, dtype=weight.dtype, device=words.device)
    if not batch:
        return logits, after
    bias = None if bias is None else bias.contiguous()
    each = MOST_EACH if outputs > WARPS else 1
    run = instance(weight.dtype, words.dtype, over_time, each)
    # without outputs there are counts to write all the same
    grid = (-(-batch * (T if over_time else 1) // ROWS), max(-(-outputs // (WARPS * each)), 1))
    tensors = (words, weight, bias, counts, after, logits)
    shared = ROWS * DEPTH * weight.element_size()
    values = (*map(_cuda.address, tensors), batch, inputs, outputs, T, steps_before)
    _cuda.launch(run, grid, values, words, shared)
    return logits, after


def instance(weight: torch.dtype, words: torch.dtype, over_time: bool, each: int) -> _cuda.Kernel:
    """The kernel for a type of weights and of words; `each` outputs a warp."""
    arguments = f"{_cuda.TYPES[weight]}, {_cuda.WORDS[words]}, {str(over_time).lower()}, {ROWS}, {each}"
    return _cuda.Kernel("readout/readout.cu", f"readout<{arguments}>", "ReadoutCall", "<11q", 32 * WARPS)
