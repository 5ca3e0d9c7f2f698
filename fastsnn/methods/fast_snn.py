"""Fast-SNN: a spike is taken back as soon as the potential is below 0."""

from typing import Any

from fastsnn.firing import levels, taken_back
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several
from fastsnn.neurons import Graded


class FastSNN(Several):
    """Soft-reset IF neurons that also fire negatively: -theta where V < 0, if they have fired more often positively
    than negatively before. Made for networks with activations of b bits and T = 2^b - 1 steps.

    threshold, per_channel, initial_potential, seed   as in OPI

    Source: Hu et al. 2023 (Fast-SNN), whose guard against rounding, V < -0.001, whole numbers do not need; without its
    training after conversion.
    """

    name = "fast-snn"
    about = Card(
        title="spikes are taken back below 0",
        source="Hu et al. 2023",
        state="v, count",
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(Graded((*levels(1), *taken_back(1, early=True)), below=True), **options)
