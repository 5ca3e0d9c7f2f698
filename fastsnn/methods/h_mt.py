"""H-MT: levels whose bits are sent as spikes."""

from typing import Any

from fastsnn.firing import levels
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several, whole
from fastsnn.neurons import Graded


class HMT(Several):
    """Soft-reset neurons that emit clip(floor(V / theta), 0, 2^n - 1) a step as n bits: thresholds theta, 2 theta, ..
    2^(n-1) theta, from the largest on. With n = 8 a step is an activation of 8 bits: a quantised network, bit by bit.

    n   bits: 4 and 8 in the paper
    threshold, per_channel, initial_potential, seed   as in OPI, for the sum of all bits. The paper optimises the
        threshold in calibration; least squares ("mse") takes that place here

    Source: H-MT, AAAI 2026.
    """

    name = "h-mt"
    about = Card(
        title="levels in powers of two: the bits of an activation as spikes",
        source="H-MT, AAAI 2026",
    )

    def __init__(self, n: int = 4, **options: Any) -> None:
        self.n = whole("h-mt", "n", n, 1, 8)
        self.levels = 2**n - 1
        super().__init__(Graded(levels(self.levels)), **options)

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"n": self.n}
