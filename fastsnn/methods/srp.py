"""SRP: neurons whose potential is used up after a few steps are silenced, and the others start again."""

from dataclasses import replace
from typing import Any

from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI


class SRP(OPI):
    """OPI's neurons in two stages. After tau steps a neuron with V <= theta / 1000 is silenced for the second stage.

    What is left of its potential says that its activation is nothing or less, and that spikes would be errors of
    timing. In the second stage all neurons start at V(0) again and go on for T steps, of which alone the output is the
    mean; a silenced neuron computes as before and emits nothing. Inputs are taken for tau + T steps.

    tau   steps of the first stage: 4 in the paper for CIFAR, 8 and 14 for ImageNet
    threshold, per_channel, initial_potential, reset, comparator, seed   as in OPI

    Source: Hao et al., AAAI 2023.
    """

    name = "srp"

    def __init__(self, tau: int = 4, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(tau, int) or tau < 1:
            raise ValueError(f"srp needs tau of at least 1 step, got {tau!r}")
        self.settling = tau

    @property
    def card(self) -> Card:  # type: ignore[override]
        return replace(CARD, latency=f"T + {self.settling}")

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"tau": self.settling}


CARD = Card(
    title="neurons with nothing left after tau steps are silenced",
    source="Hao et al., AAAI 2023",
    state="v, one bit",
    latency="T + tau",
)
