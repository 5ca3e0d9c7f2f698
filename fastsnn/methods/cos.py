"""COS: every layer runs twice; neurons that were off by a spike in the first run start elsewhere in the second."""

from typing import Any

from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI
from fastsnn.neurons import IF


class COS(OPI):
    """OPI's neurons, calibrated on the image itself: layer after layer, the first rho steps of the input are run, and
    where a neuron's potential ends below 0 after it fired, or at the threshold or above, V(0) is moved so that it fires
    one spike less or more. Then all T steps of the same input are run. See `fastsnn.ops.restart`.

    Each layer has to wait for rho steps of the one before it. T is at least rho and at most 32; not in int16.

    rho   steps of the first run: 4 in the paper for CIFAR, 8 for ImageNet
    threshold, per_channel, initial_potential, seed   as in OPI

    Source: Hao et al., ICLR 2023; without its repetition for offsets of more than one spike.
    """

    name = "cos"
    card = Card(
        title="run twice: neurons that were off by a spike start elsewhere",
        source="Hao et al., ICLR 2023",
        state="v, and two more in the first run",
        causal=False,
    )

    def __init__(self, rho: int = 4, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(rho, int) or not 1 <= rho <= 32:
            raise ValueError(f"cos needs rho of 1 to 32 steps, got {rho!r}")
        self.rho = rho
        self.neuron = IF(self.neuron.reset, self.neuron.comparator, "offset", probe=rho)

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"rho": self.rho}
