"""ECMT's neuron: signed levels in powers of two, of which the nearest fires."""

from typing import Any

from fastsnn.firing import QUARTERS, Plane
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several, whole
from fastsnn.neurons import Graded


class ECMT(Several):
    """Neurons with thresholds 2^(n-1) theta, .. 2 theta, theta and minus those, that fire on one of them a step: the
    largest that V has reached up to theta / 2. Not more is taken back than was emitted. From V(0) = 0.

    n   powers of two, 1 to 8
    threshold, per_channel, seed   as in OPI, for the largest level

    Source: Huang et al., ACM MM 2024 (ECMT), its neuron from the authors' code; its compensation is for functions that
    networks of ReLUs do not have.
    """

    name = "ecmt"
    about = Card(
        title="one of several signed levels in powers of two a step",
        source="Huang et al., ACM MM 2024",
        state="v, count",
    )

    def __init__(self, n: int = 4, **options: Any) -> None:
        self.n = whole("ecmt", "n", n, 1, 8)
        self.levels = 2 ** (n - 1)
        amplitudes = [2**k for k in reversed(range(n))]
        found = [Plane(sign * a, QUARTERS * a - QUARTERS // 2) for sign in (1, -1) for a in amplitudes]
        super().__init__(Graded(tuple(found), single=True), **{"initial_potential": 0.0} | options)

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"n": self.n}
