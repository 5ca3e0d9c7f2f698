"""readout in Triton: spikes counted on the way into a product whose rows are images, or steps of images."""

# what a kernel works on has no types of Python's

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _triton
from fastsnn.ops._neuron_kernel import popcount, unsigned


@triton.jit(do_not_specialize=["batch", "steps_before"])
def _readout_kernel(
    words,
    weight,
    bias,
    counts,
    after,
    logits,
    batch,
    steps_before,
    inputs,
    outputs,
    T: tl.constexpr,
    CURVE: tl.constexpr,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    o = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    if CURVE:
        item, t = row // T, (row % T).to(tl.int32)
    else:
        item, t = row, tl.full([ROWS], T - 1, tl.int32)
    some = item < batch
    # bits 0 to t; of 32 bits the shift leaves none, and one less than that is all of them
    so_far = (tl.full([ROWS], 2, tl.uint32) << t.to(tl.uint32)) - 1
    # each count has one program to write it
    writes = some & (t == T - 1) & (tl.program_id(1) == 0)
    total = tl.zeros([ROWS, OUTPUTS], weight.dtype.element_ty)
    for start in range(0, inputs, DEPTH):
        k = start + tl.arange(0, DEPTH)
        at = item[:, None] * inputs + k[None, :]
        there = some[:, None] & (k < inputs)[None, :]
        spikes = popcount(unsigned(tl.load(words + at, mask=there, other=0)) & so_far[:, None])
        count = tl.load(counts + at, mask=there, other=0) + spikes
        tl.store(after + at, count, mask=there & writes[:, None])
        rows = weight + o[None, :].to(tl.int64) * inputs + k[:, None]
        part = tl.load(rows, mask=(o < outputs)[None, :] & (k < inputs)[:, None], other=0)
        total = tl.dot(count.to(part.dtype), part, total, input_precision="ieee", out_dtype=total.dtype)
    steps = (steps_before + t + 1).to(total.dtype)[:, None]
    if total.dtype == tl.float32:
        # the plain division of 32 bits is an approximate one
        mean = tl.div_rn(total, tl.broadcast_to(steps, [ROWS, OUTPUTS]))
    else:
        mean = total / steps
    if bias is not None:
        mean += tl.load(bias + o, mask=o < outputs, other=0)[None, :]
    place = (t.to(tl.int64) * batch + item if CURVE else item)[:, None] * outputs + o[None, :]
    tl.store(logits + place, mean, mask=some[:, None] & (o < outputs)[None, :])


def readout(
    words: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, T: int, steps_before: int, over_time: bool
) -> tuple[Tensor, Tensor]:
    (batch, inputs), outputs = words.shape, weight.shape[0]
    after = torch.empty_like(counts)
    size = (T, batch, outputs) if over_time else (batch, outputs)
    logits = torch.empty(size, dtype=weight.dtype, device=words.device)
    # not by the batch, so that one of another size finds the kernel compiled; but a curve has T times the rows
    rows, across, depth = (64, 32, 64) if over_time else (16, 16, 64 if weight.dtype == torch.float64 else 128)
    if weight.dtype == torch.float64:
        # Triton compiles no product of 64 bits whose operands come from words of 8 or 16 bits
        words = words.to(torch.int32)
    # without outputs there are counts to write all the same
    grid = (triton.cdiv(batch * (T if over_time else 1), rows), max(triton.cdiv(outputs, across), 1))
    if batch:
        with _triton.on(words):
            _readout_kernel[grid](
                words,
                weight,
                None if bias is None else bias.contiguous(),
                counts,
                after,
                logits,
                batch,
                steps_before,
                inputs,
                outputs,
                T=T,
                CURVE=over_time,
                ROWS=rows,
                OUTPUTS=across,
                DEPTH=depth,
                num_warps=4,
                num_stages=2,
                enable_fp_fusion=False,
            )
    return logits, after
