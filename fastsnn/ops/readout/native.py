"""readout on the CPU, in C++."""

import torch
from torch import Tensor

from fastsnn import _native


def readout(
    words: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, T: int, steps_before: int, over_time: bool
) -> tuple[Tensor, Tensor]:
    (batch, inputs), outputs = words.shape, weight.shape[0]
    after = torch.empty((batch, inputs), dtype=torch.int32)
    logits = torch.empty((T, batch, outputs) if over_time else (batch, outputs), dtype=weight.dtype)
    bias = None if bias is None else bias.contiguous()
    _native.load().readout(
        words.data_ptr(),
        words.element_size(),
        weight.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        weight.dtype == torch.float64,
        counts.data_ptr(),
        after.data_ptr(),
        logits.data_ptr(),
        batch,
        inputs,
        outputs,
        T,
        steps_before,
        over_time,
        torch.get_num_threads(),
    )
    return logits, after
