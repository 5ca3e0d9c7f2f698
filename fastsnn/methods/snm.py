"""SNM: a spike is taken back where the potential falls a threshold below 0."""

from typing import Any

from fastsnn.firing import levels, taken_back
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several
from fastsnn.neurons import Graded


class SNM(Several):
    """Soft-reset IF neurons that also fire negatively: -theta where V <= -theta, if they have fired more often
    positively than negatively before.

    threshold, per_channel, initial_potential, seed   as in OPI

    Source: Wang et al. 2022 (signed neuron with memory); the initialisation from data of its 2024 version is
    "measured".
    """

    name = "snm"
    about = Card(
        title="spikes are taken back at -theta",
        source="Wang et al. 2022",
        state="v, count",
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(Graded((*levels(1), *taken_back(1, early=False))), **options)
