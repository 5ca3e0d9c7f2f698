"""What methods have in common whose neurons emit several spikes a step, or take spikes back."""

from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from fastsnn.convert.statistics import Activation
from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI
from fastsnn.neurons import Adaptive, Graded


class Several(OPI):
    """Soft-reset neurons with planes; thresholds and V(0) are found as OPI's.

    levels   that one step can add, which thresholds are divided by: the largest output is then that of an IF neuron
             with the same rule; `resolution` also says how many steps there are for a threshold rule that asks
    """

    about: ClassVar[Card]
    neuron: Graded | Adaptive  # type: ignore[assignment]
    levels = 1

    def __init__(
        self,
        neuron: Graded | Adaptive,
        threshold: str | None = None,
        per_channel: bool = True,
        initial_potential: float | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(threshold, per_channel, initial_potential, seed=seed)
        self.neuron = neuron

    @property
    def card(self) -> Card:  # type: ignore[override]
        return replace(self.about, bits=len(self.neuron.firing.planes))

    def threshold(self, activation: Activation, bound: Tensor | None, timesteps: int) -> Tensor:
        steps = self.neuron.steps_of(timesteps)
        return super().threshold(activation, bound, steps * self.levels) / self.levels

    @property
    def options(self) -> dict[str, object]:
        own = super().options
        return {name: value for name, value in own.items() if name not in ("reset", "comparator")}


def whole(method: str, name: str, value: Any, least: int, most: int) -> int:
    """An option that is a whole number. Raises ValueError for any other."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{method} needs {name} of {least} to {most}, got {value!r}")
    return value
