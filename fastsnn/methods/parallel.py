"""Parallel conversion: every neuron fires as often as the sum of all its input allows: the quantised network."""

from typing import Any

from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI
from fastsnn.neurons import IF


class Parallel(OPI):
    """Neurons that see all T steps of their input before they fire: clip(floor((V(0) + sum I) / theta), 0, T) spikes.

        s[t] = 1   where   V(0) + sum over all steps of I >= t theta,      t = 1 .. T

    The spikes are those of the network whose activations are quantised to T + 1 levels, exactly; each layer has to wait
    for the one before it, so the answer is there after T steps for each layer. Only the answer after the last step
    means anything. At most 32 steps; precision int16 is too narrow for the sums.

    threshold, per_channel, initial_potential, seed   as in OPI

    Source: Hao et al., ICML 2025, without its calibration of input means ("DA-QCFS").
    """

    name = "parallel"
    card = Card(
        title="as many spikes as the whole input allows: the quantised network, spike by spike",
        source="Hao et al., ICML 2025",
        causal=False,
        verified="equal to the quantised network in every count (tests)",
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.neuron = IF(self.neuron.reset, self.neuron.comparator, emission="ordered")
