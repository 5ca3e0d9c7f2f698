"""Spiking neurons as modules: currents in, spikes out, over any number of steps."""

import torch
from torch import Tensor

from fastsnn.neurons import IF as Rules
from fastsnn.nn.sequence import last, require, second
from fastsnn.nn.state import Stateful, require_shape
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.pack import unpack
from fastsnn.spikes import chunk_lengths


class IF(Stateful):
    """Integrate-and-fire neurons.

        V = leak V + I[t];   s[t] = V >= threshold;   V -= s[t] threshold (soft)   or   V = 0 where s[t] (hard)

    threshold           above 0: one number, or one a channel [C]
    initial_potential   V before the first step, in thresholds; 0.5 is OPI's
    reset               "soft" or "hard";   comparator   ">=" or ">"

    Called with currents [T, B, C, *S], float32 or float64, it gives spikes of the same shape and dtype, 0 or 1, and
    goes on from the call before: see `fastsnn.nn.Stateful`. No gradients. `state_dict` has thresholds and initial
    potentials.
    Source: Bu et al., AAAI 2022.
    """

    threshold: Tensor
    initial_potential: Tensor

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        initial_potential: float | Tensor = 0.5,
        *,
        reset: str = "soft",
        comparator: str = ">=",
        leak: float = 1.0,
    ) -> None:
        super().__init__()
        self.rules = Rules(reset, comparator, leak=leak)
        self.register_buffer("threshold", torch.as_tensor(threshold, dtype=torch.get_default_dtype()).clone())
        start = torch.as_tensor(initial_potential, dtype=self.threshold.dtype)
        self.register_buffer("initial_potential", start.clone())
        if self.threshold.ndim > 1 or not bool((self.threshold > 0).all()):
            raise ValueError(f"{type(self).__name__}: threshold must be above 0, one or one a channel, got {threshold}")

    @torch.no_grad()
    def run(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        require(type(self).__name__, x)
        currents, spikes = last(x), []
        v = self.started(currents, state)
        for part in currents.split(chunk_lengths(len(x))):
            words, v = if_steps(part, self.threshold.to(x.dtype), v, neuron=self.rules)
            spikes.append(unpack(words, len(part)))
        return second(torch.cat(spikes).to(x.dtype)), v

    def started(self, like: Tensor, state: Tensor | None) -> Tensor:
        """The potential that steps [T, B, *S, C] start from."""
        if state is None:
            return self.start(like.dtype).expand(like.shape[1:]).contiguous()
        require_shape(type(self).__name__, state, tuple(like.shape[1:]))
        return state

    def start(self, dtype: torch.dtype) -> Tensor:
        """V before the first step."""
        return (self.initial_potential * self.threshold).to(dtype)

    def extra_repr(self) -> str:
        theta = f"{self.threshold.item():g}" if self.threshold.numel() == 1 else f"[{self.threshold.numel()}]"
        leak = "" if self.rules.leak == 1 else f", leak={self.rules.leak:g}"
        return f"threshold={theta}, reset={self.rules.reset!r}, comparator={self.rules.comparator!r}{leak}"


class LIF(IF):
    """Leaky integrate-and-fire neurons: `IF` whose potential keeps a share of itself from step to step.

    leak   that share, 0 to 1: 1 - 1 / tau, or exp(-1 / tau)
    Other arguments as in `IF`; V before the first step is 0 unless it is given.
    """

    def __init__(
        self,
        leak: float,
        threshold: float | Tensor = 1.0,
        initial_potential: float | Tensor = 0.0,
        *,
        reset: str = "soft",
        comparator: str = ">=",
    ) -> None:
        super().__init__(threshold, initial_potential, reset=reset, comparator=comparator, leak=leak)
