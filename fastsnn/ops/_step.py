"""The definition of a neuron's step, and of T of them: what every backend has to reproduce.

In fixed point of 32 bits a current saturates at +-(2^30 - 1) and a membrane potential at +-2^30, so that no sum of
the two leaves 32 bits however long the run is. With the default threshold of 2^24 that is 64 thresholds away.

In fixed point of 16 bits every sum wraps, as 16-bit additions do in any order, and a membrane potential saturates at
+-2^14 after the reset and before the first step. Currents are meant to stay below 2^14; the conversion sees to it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fastsnn.spikes import word_dtype

LIMIT = 2**30
LIMIT_16 = 2**14


# what sums and neurons are computed in, where weights are stored in fewer bits
HALVES = (torch.float16, torch.bfloat16)
VALUES = {torch.int8: torch.int32, **dict.fromkeys(HALVES, torch.float32)}


def value_dtype(weights: torch.dtype) -> torch.dtype:
    """The dtype of currents, potentials, thresholds and biases that go with weights of a dtype."""
    return VALUES.get(weights, weights)


def as_values(value: float | Tensor, like: Tensor) -> Tensor:
    """A number or tensor in the value dtype and on the device of `like`; a fraction for whole numbers is refused."""
    whole = not like.is_floating_point()
    if whole and (value.is_floating_point() if isinstance(value, Tensor) else value != int(value)):
        got = value.dtype if isinstance(value, Tensor) else value
        raise TypeError(f"thresholds and potentials of {like.dtype} values must be whole numbers, got {got}")
    return torch.as_tensor(value, dtype=value_dtype(like.dtype), device=like.device)


def bias_at(bias: Tensor | None, t: int, dims: int) -> Tensor | int:
    """The bias of step t; `dims` is the number of dimensions of the neurons, one more means a bias per step."""
    if bias is None:
        return 0
    if bias.ndim <= dims:
        return bias
    return bias[t if bias.shape[0] > 1 else 0]


def integrate(
    current_at: Callable[[int], Tensor],
    T: int,
    shape: torch.Size,
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    reset: str,
    comparator: str,
) -> tuple[Tensor, Tensor]:
    """Runs neurons of `shape` over T steps: (words [*N], v [*N])."""
    exact = not v.is_floating_point()
    dtype = v.dtype
    wide = torch.int64 if exact else dtype
    v, threshold = v.to(wide).expand(shape), threshold.to(wide)
    limit = LIMIT_16 if dtype == torch.int16 else LIMIT
    if exact:
        v = v.clamp(-limit, limit)
    words = torch.zeros(shape, dtype=torch.int64, device=v.device)
    for t in range(T):
        current = current_at(t).to(wide) + bias_at(bias, t, len(shape))
        if exact and dtype != torch.int16:
            current = current.clamp(1 - LIMIT, LIMIT - 1)
        v = v + current
        if dtype == torch.int16:
            v = wrapped(v)
        fired = v >= threshold if comparator == ">=" else v > threshold
        v = torch.where(fired, v - threshold if reset == "soft" else torch.zeros_like(v), v)
        if exact:
            v = (wrapped(v) if dtype == torch.int16 else v).clamp(-limit, limit)
        words |= fired.to(torch.int64) << t
    # a potential given with other strides has passed them on
    return words.to(word_dtype(T)), v.to(dtype).contiguous()


def wrapped(values: Tensor) -> Tensor:
    """What 16-bit additions make of a sum: the number in -2^15 .. 2^15 - 1 that is equal to it modulo 2^16."""
    return (values + 2**15) % 2**16 - 2**15


def spikes_at(words: Tensor, t: int) -> Tensor:
    """Bit t of each word, as 0 or 1 in the words' dtype."""
    return (words >> t) & 1
