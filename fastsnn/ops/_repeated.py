"""Values that spread over neurons as numbers that repeat: neuron n has number n % period, as kernels read them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def repeated(values: Tensor, shape: torch.Size, steps: tuple[int, ...] = ()) -> Tensor:
    """Contiguous numbers that repeat over the neurons from the right: one, the last dimensions, or all of them.

    steps  (T,): so many of them, one for each step
    """
    size = values.shape[len(steps) :]
    while size and size[0] == 1:
        size = size[1:]
    values = values.reshape((*steps, *size))
    if size and size != shape[len(shape) - len(size) :]:
        values = values.reshape((*steps, *[1] * (len(shape) - len(size)), *size)).expand((*steps, *shape))
    return values.contiguous()


def biases(bias: Tensor | None, shape: torch.Size, T: int) -> tuple[Tensor | None, int]:
    """The biases, and how many numbers there are for each step: 0 where all steps share them."""
    if bias is None:
        return None, 0
    if bias.ndim <= len(shape):
        return repeated(bias, shape), 0
    if bias.shape[0] == 1:
        return repeated(bias[0], shape), 0
    numbers = repeated(bias, shape, (T,))
    return numbers, numbers.numel() // T


def spread(values: Tensor, shape: tuple[int, ...], steps: tuple[int, ...] = ()) -> tuple[Tensor, int]:
    """Values that spread over neurons [B, *S, O] as numbers [P, O], and P: position p has those of p % P.

    steps  (T,): [T, P, O], one for each step
    """
    numbers = repeated(values, torch.Size(shape), steps)
    if numbers.ndim - len(steps) <= 1:
        return numbers.reshape((*steps, -1)).expand((*steps, shape[-1])).contiguous(), 1
    return numbers, numbers[0].numel() // shape[-1] if steps else numbers.numel() // shape[-1]


def spread_bias(bias: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, int, int]:
    """The same of biases [T or less, B, *S, O], and how far apart those of two steps are: 0 where all share them."""
    if bias.ndim <= len(shape):
        return *spread(bias, shape), 0
    if bias.shape[0] == 1:
        return *spread(bias[0], shape), 0
    numbers, repeat = spread(bias, shape, tuple(bias.shape[:1]))
    return numbers, repeat, numbers[0].numel()


def within_32_bits(weights: Sequence[Tensor], bias: Tensor | None, bias_varies: bool) -> bool:
    """Whether no current of whole numbers can leave 32 bits; looks at them.

    bias_varies  the calls bring their own biases, below 2^30
    """
    reach = float(torch.stack([w.double().abs().flatten(1).sum(1) for w in weights]).sum(0).max())
    if bias_varies:
        reach += 2.0**30
    elif bias is not None and bias.numel():
        reach += float(bias.double().abs().max())
    return reach < 2.0**31 - 1
