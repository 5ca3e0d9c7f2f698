"""The definition of a neuron's step, and of T of them: what every backend has to reproduce.

In fixed point of 32 bits a current saturates at +-(2^30 - 1) and a membrane potential at +-2^30, so that no sum of
the two leaves 32 bits however long the run is. With the default threshold of 2^24 that is 64 thresholds away.

In fixed point of 16 bits every sum wraps, as 16-bit additions do in any order, and a membrane potential saturates at
+-2^14 after the reset and before the first step. Currents are meant to stay below 2^14; the conversion sees to it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastsnn.firing import COUNT_UNIT_32, GAIN_BITS, QUARTERS, Firing, firing_of
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
    """Runs neurons of `shape` over T steps: words [*N] or [planes, *N], and the state, v [*N] or v and counts [2, *N].

    reset   "soft", "hard", or a code of `fastsnn.firing`, which defines the step
    """
    firing = firing_of(reset)
    exact = not v.is_floating_point()
    dtype = v.dtype
    wide = torch.int64 if exact else dtype
    limit = LIMIT_16 if dtype == torch.int16 else LIMIT
    gains, caps, unit = (firing.fixed_gains if exact else firing.gains)(T), firing.caps(T), count_unit(dtype)
    state, threshold = v.to(wide), threshold.to(wide)
    v, count = (state[0], state[1]) if goes_on(firing, v, shape) else (state.expand(shape), state.new_zeros(shape))
    if exact:
        v = v.clamp(-limit, limit)
    words = torch.zeros((len(firing.planes), *shape), dtype=torch.int64, device=v.device)
    for t in range(T):
        current = current_at(t).to(wide) + bias_at(bias, t, len(shape))
        if exact and dtype != torch.int16:
            current = current.clamp(1 - LIMIT, LIMIT - 1)
        if gains is not None:
            v = grown(v, gains[t])
            count = grown(count, gains[t]) if firing.differential else count
        v = v + current
        if dtype == torch.int16:
            v = wrapped(v)
        any_fired = torch.zeros(shape, dtype=torch.bool, device=v.device)
        for p, (amplitude, level) in enumerate(firing.planes):
            at = (threshold * level) >> 2 if exact else threshold * (level / QUARTERS)
            if amplitude > 0:
                fired = v >= at if comparator == ">=" else v > at
                if caps is not None:
                    fired = fired & (count + amplitude * unit <= caps[t] * unit)
            else:
                fired = (v < -at if firing.below else v <= -at) & (count >= -amplitude * unit)
            if firing.single:
                fired = fired & ~any_fired
            any_fired = any_fired | fired
            if firing.reset == "soft":
                v = torch.where(fired, v - amplitude * threshold, v)
                v = wrapped(v) if dtype == torch.int16 else v
            count = torch.where(fired, count + amplitude * unit, count)
            words[p] |= fired.to(torch.int64) << t
        if firing.reset == "hard":
            v = torch.where(any_fired, torch.zeros_like(v), v)
        if exact:
            v, count = v.clamp(-limit, limit), count.clamp(-limit, limit)
    after = torch.stack([v, count]) if firing.counted else v
    # a potential given with other strides has passed them on
    return (words if len(words) > 1 else words[0]).to(word_dtype(T)), after.to(dtype).contiguous()


def goes_on(firing: Firing, v: Tensor, shape: Sequence[int]) -> bool:
    """Whether v is the state [2, *N] that neurons which count were left in, and not a potential to start from."""
    return firing.counted and v.ndim > len(shape)


def count_unit(dtype: torch.dtype) -> int:
    """What one level counts as in values of a dtype."""
    return COUNT_UNIT_32 if dtype == torch.int32 else 1


def grown(values: Tensor, gain: float) -> Tensor:
    """Values with their gain; of whole numbers it is a multiple of 2^-15, and they stay within what fits 32 bits."""
    if values.is_floating_point():
        return values + values * gain
    held = values.clamp(-LIMIT // 2, LIMIT // 2)
    return (values + ((held * int(gain)) >> GAIN_BITS)).clamp(-LIMIT, LIMIT)


def wrapped(values: Tensor) -> Tensor:
    """What 16-bit additions make of a sum: the number in -2^15 .. 2^15 - 1 that is equal to it modulo 2^16."""
    return (values + 2**15) % 2**16 - 2**15


def spikes_at(words: Tensor, t: int) -> Tensor:
    """Bit t of each word, as 0 or 1 in the words' dtype."""
    return (words >> t) & 1
