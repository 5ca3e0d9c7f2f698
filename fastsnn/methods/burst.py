"""Burst: neurons that fall behind emit several spikes at once."""

from typing import Any

from fastsnn.firing import levels
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several, whole
from fastsnn.neurons import Graded

MOST = 255


class Burst(Several):
    """Soft-reset neurons that emit clip(floor(V / theta), 0, cap) spikes a step: what arrived unevenly is caught up
    with.

    Without a cap the sum of spikes is the largest floor((V(0) + sum of currents) / theta) so far, or 0.

    cap   spikes a step, 1 to 255: 5 in the paper; None for 255, which no activation within its threshold reaches
    threshold, per_channel, initial_potential, seed   as in OPI

    Source: Li, Zeng, IJCAI 2022 (burst spikes; its LIPooling is max_pool="lateral").
    """

    name = "burst"
    about = Card(
        title="several spikes at once where a neuron has fallen behind",
        source="Li, Zeng, IJCAI 2022",
        verified="without a cap equal to its cumulative maximum (tests)",
    )

    def __init__(self, cap: int | None = 5, **options: Any) -> None:
        self.cap = None if cap is None else whole("burst", "a cap", cap, 1, MOST)
        super().__init__(Graded(levels(MOST if cap is None else cap)), **options)

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"cap": self.cap}
