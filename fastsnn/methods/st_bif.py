"""ST-BIF: signed spikes and bounded counts, which settle at the quantised network."""

from typing import Any

from fastsnn.firing import levels as planes
from fastsnn.firing import taken_back
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several, whole
from fastsnn.neurons import Graded


class STBIF(Several):
    """Neurons that fire at theta while they have emitted fewer than `levels` spikes, and take one back where V < 0.
    Image and biases are given in the first `levels` steps only; in those behind, spikes go on to even out until every
    count is the one of the network whose activations are quantised to `levels`. The output is the sum of all spikes
    over `levels`. At most `levels` steps for each layer make it exact; a few are enough for nearly all neurons.

    levels   steps with input, 1 to 255
    threshold, per_channel, initial_potential, seed   as in OPI

    Source: You et al., ICML 2024 (SpikeZIP-TF).
    """

    name = "st-bif"
    about = Card(
        title="signed spikes, counts within bounds, then steps to settle: the quantised network",
        source="You et al., ICML 2024",
        state="v, count",
        verified="settled equal to the quantised network in every count (tests)",
    )

    def __init__(self, levels: int = 8, **options: Any) -> None:
        self.steps = whole("st-bif", "levels", levels, 1, 255)
        rules: dict[str, Any] = {"below": True, "most": levels, "wake": levels}
        super().__init__(Graded((*planes(1), *taken_back(1, early=True)), **rules), **options)

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"levels": self.steps}
