"""GN: groups of neurons that share one potential."""

from typing import Any

from fastsnn.firing import levels
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several, whole
from fastsnn.neurons import Graded


class GN(Several):
    """A group of `members` neurons that share V, with thresholds theta / members, 2 theta / members, .. theta: they
    emit clip(floor(V members / theta), 0, members) theta / members a step. From V(0) = theta / (2 members).

    members   1 to 255: 6 in the authors' example
    threshold, per_channel, initial_potential, seed   as in OPI, in units of theta / members

    Source: Lv et al., ICASSP 2024 (arXiv 2402.19061), from the authors' code.
    """

    name = "gn"
    about = Card(
        title="groups of neurons that share one potential: finer steps",
        source="Lv et al., ICASSP 2024",
        verified="with T steps equal to the network quantised to T times as many levels, for constant input (tests)",
    )

    def __init__(self, members: int = 6, **options: Any) -> None:
        self.levels = whole("gn", "members", members, 1, 255)
        super().__init__(Graded(levels(members)), **options)

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"members": self.levels}
