"""CASC: signed bursts while awake, then asleep until the counts are right."""

from typing import Any

from fastsnn.firing import levels, taken_back
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several, whole
from fastsnn.neurons import Graded


class CASC(Several):
    """Neurons that emit clip(floor(V / theta), -gamma, gamma) spikes a step, in sum never less than 0, nor more than
    there were steps with input. Image and biases are given in the first `wake` steps; in those behind (56 in the
    authors' code) spikes only even out. The output is the sum of all spikes over `wake`.

    wake    steps with input, 1 to 255: the levels of the quantised network
    gamma   1 to 15
    threshold, per_channel, initial_potential, seed   as in OPI. The source's networks are trained with floor and no
    half:
        for them initial_potential=0

    Source: Li, He, Kong, Zeng 2024 (consistent mapping relations), from the authors' code.
    """

    name = "casc"
    about = Card(
        title="signed bursts, then steps without input to settle",
        source="Li, He, Kong, Zeng 2024",
        state="v, count",
    )

    def __init__(self, wake: int = 8, gamma: int = 3, **options: Any) -> None:
        self.wake = whole("casc", "wake", wake, 1, 255)
        self.gamma = whole("casc", "gamma", gamma, 1, 15)
        rules: dict[str, Any] = {"below": True, "most": wake, "by_step": True, "wake": wake}
        super().__init__(Graded((*levels(gamma), *taken_back(gamma, early=True)), **rules), **options)

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"wake": self.wake, "gamma": self.gamma}
