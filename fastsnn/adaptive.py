"""T steps of neurons with adaptive thresholds, elementwise in PyTorch; `fastsnn.neurons.Adaptive` has the equations."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastsnn.neurons import Adaptive
from fastsnn.spikes import word_dtype

# a current so far below 0 makes the threshold as large as it gets; its exponential would be infinite
MOST_EXPONENT = 80.0


def integrate(
    current_at: Callable[[int], Tensor],
    T: int,
    shape: Sequence[int],
    start: Tensor,
    neuron: Adaptive,
    first: int = 0,
) -> tuple[Tensor, Tensor]:
    """Runs neurons of `shape` over T steps, 1 to 32: words [9, *N], and the state [2, *N] that they are left in.

    current_at  the current of step t, t in 0..T-1; spreads over *N, in units of theta / 256, as all numbers here
    start       floating: where first is 0 the potentials before the first step, spreading over *N, and otherwise the
                state that the steps before left: potentials, and the sums of the potentials after each step so far
    first       steps of the run before these
    """
    shape = tuple(shape)
    v, total = start if first else (start.expand(shape), start.new_zeros(shape))
    amplitudes = neuron.firing.amplitudes
    shifts = torch.arange(len(amplitudes) - 1, -1, -1, dtype=torch.int16, device=start.device)
    shifts = shifts.reshape(-1, *[1] * len(shape))
    words = torch.zeros((len(amplitudes), *shape), dtype=word_dtype(T), device=start.device)
    for t in range(T):
        current, step = current_at(t), first + t
        level = threshold(v, total / step, current, neuron) if step else torch.full_like(v, neuron.units)
        v = v + current
        emitted = level * (v >= level)
        v = v - emitted
        total = total + v
        words |= ((emitted.to(torch.int16) >> shifts) & 1).to(words.dtype) << t
    return words, torch.stack([v, total])


def threshold(v: Tensor, mean: Tensor, current: Tensor, neuron: Adaptive) -> Tensor:
    """The thresholds of a step after the first: whole numbers 1..255 as floating ones, in units of theta / 256.

    v, mean  potentials after the step before, and their means over the steps so far
    """
    above = (v - mean) / neuron.units
    # log(1 + exp(x)) that does not overflow
    soft = torch.logaddexp(above / neuron.ki, above.new_zeros(()))
    follows = neuron.tau_mp * (neuron.a * above - 1 + neuron.ka * soft)
    evoked = neuron.tau_rd * (current / (-neuron.c * neuron.units)).clamp(max=MOST_EXPONENT).exp()
    return (neuron.units * torch.sigmoid(follows + evoked)).round().clamp(1, neuron.units - 1)
