"""DC: spikes are changes of a running mean, so that a neuron whose estimate is right is silent."""

from collections.abc import Mapping

from torch import Tensor

from fastsnn.errors import ConversionError
from fastsnn.firing import powers
from fastsnn.methods.card import Card
from fastsnn.methods.several import Several, whole
from fastsnn.neurons import Graded


class DC(Several):
    """Differential coding: a spike of amplitude a at step t adds a theta / t to what its neuron stands for.

        r[t] = r[t - 1] + x[t] / t,   of what a neuron receives and of what it emits

    A neuron fires where t (received - emitted) is three quarters of a level 2^(n-1) theta, .. theta, one level a step,
    and takes back no more than it stands for. The image and the biases are given at the first step only. That is an
    IF neuron whose potential, and whose count, grow by 1 / (t - 1) of themselves before step t.

    n   levels, 1 to 8; 1: fires at theta / 2 either way, which is IF's V(0) = theta/2
    threshold, per_channel, seed   as in OPI, for the largest level; "percentile:99.9" if it is not given

    Activations need no upper bound of their own; max pools become average pools, or are refused. Not in int16.

    Source: Huang et al., ICML 2025 (DCGS), for convolutional networks, with quantiles for thresholds.
    """

    name = "dc"
    about = Card(
        title="spikes are changes of a running mean: silence once it is right",
        source="Huang et al., ICML 2025",
        state="v, count",
        verified="equal to the source's recurrences, and its errors of single neurons (tests)",
    )

    def __init__(
        self,
        n: int = 4,
        threshold: str | None = None,
        per_channel: bool = True,
        initial_potential: float | None = None,
        seed: int = 0,
    ) -> None:
        if initial_potential not in (None, 0):
            raise ValueError(f"dc starts its neurons at 0, got initial_potential={initial_potential!r}")
        self.n = whole("dc", "n", n, 1, 8)
        self.levels = 2 ** (n - 1)
        planes = powers(n, 0.75 if n > 1 else 0.5)
        neuron = Graded(planes, single=True, differential=True, wake=1)
        super().__init__(neuron, threshold or "percentile:99.9", per_channel, 0.0, seed)

    def check(self, bounds: Mapping[str, Tensor | None]) -> None:
        super().check(bounds)
        bounded = [name for name, bound in bounds.items() if bound is not None]
        if bounded:
            raise ConversionError(f"dc has no neuron for activations with an upper bound: {', '.join(bounded)}")

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"n": self.n}
