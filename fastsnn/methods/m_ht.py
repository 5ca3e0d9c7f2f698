"""M-HT: neurons of several levels, each step of them as much as several of IF."""

from typing import Any

from fastsnn.firing import levels as planes
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several, whole
from fastsnn.neurons import Graded


class MHT(Several):
    """Soft-reset neurons that emit clip(floor(V / theta), 0, levels) a step: one step of them is `levels` steps of IF
    neurons that get the same current in equal parts. Thresholds are those of IF divided by `levels`, so that both reach
    as far.

    levels   1 to 255: 2 in the paper
    threshold, per_channel, initial_potential, seed   as in OPI

    Source: Hao et al., NeurIPS 2024 (LM-HT), its neuron; the learned weights of time groups are for training.
    """

    name = "m-ht"
    about = Card(
        title="several levels a step: one step is as many of IF",
        source="Hao et al., NeurIPS 2024",
        verified="one step equal to `levels` uniform steps of IF (tests)",
    )

    def __init__(self, levels: int = 2, **options: Any) -> None:
        self.levels = whole("m-ht", "levels", levels, 1, 255)
        super().__init__(Graded(planes(levels)), **options)

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"levels": self.levels}
