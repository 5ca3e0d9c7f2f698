"""The layer of membrane potentials: what a network gives of its neurons beside their spikes, or in place of them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fastsnn.neurons import Neuron
from fastsnn.program.layers import Layer
from fastsnn.windows import Shape

# the synaptic current, and the membrane potential before and after a spike is taken from it
SHOWN = ("current", "before", "after")
NUMBERS = ("threshold", "gain", "drift", "start", "origin")


class PotentialLayer(Layer):
    """The state of neurons at each step, as numbers in the units of the network that they come from.

        J = synapse J + gain I;   U = leak U + J + drift;   where they spike: U -= threshold (soft) or U = 0 (hard)

    source   the layer of their input I, as numbers
    spikes   the layer of the neurons; None where they never spike, which is a leaky integrator
    shows    "current": J / gain; "before" or "after" a spike is taken from it: U + origin
    rules    reset, leak and synapse
    numbers  threshold, gain, drift, start (U before the first step) and origin, each spreading over [*S, C]
    """

    threshold: Tensor
    gain: Tensor
    drift: Tensor
    start: Tensor
    origin: Tensor

    def __init__(
        self,
        name: str,
        shape: Shape,
        folded: Sequence[str],
        source: str,
        spikes: str | None,
        shows: str,
        rules: Neuron,
        numbers: Mapping[str, Tensor],
    ) -> None:
        super().__init__(name, shape, folded)
        self.source, self.spikes, self.shows, self.rules = source, spikes, shows, rules
        for number in NUMBERS:
            self.register_buffer(number, numbers[number])

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,) if self.spikes is None else (self.source, self.spikes)

    def over_time(
        self, inputs: Tensor, spikes: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(what it shows at each step [T, B, *S, C], the state after the last [2, B, *S, C]).

        inputs   numbers [T, B, *S, C];   spikes   0 or 1, alike;   state   of the call before; None: the first step
        """
        synapse, leak = getattr(self.rules, "synapse", 0.0), self.rules.firing.leak
        shape = inputs.shape[1:]
        potential, current = (self.start.expand(shape), inputs.new_zeros(shape)) if state is None else state
        found = []
        for t, x in enumerate(inputs):
            current = synapse * current + self.gain * x
            before = potential = leak * potential + current + self.drift
            if spikes is not None:
                taken = self.threshold if self.rules.reset == "soft" else before
                potential = before - spikes[t] * taken
            shown = {"current": current / self.gain, "before": before + self.origin, "after": potential + self.origin}
            found.append(shown[self.shows])
        return torch.stack(found), torch.stack([potential, current])
