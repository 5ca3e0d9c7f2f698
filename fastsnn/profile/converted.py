"""How a converted network is observed: its spikes, what they cause, and its outputs after each step, in one pass."""

from typing import Any

from torch import Tensor

from fastsnn.network import SpikingNetwork
from fastsnn.profile.counts import Observed
from fastsnn.profile.programs import Counted


class Converted(Counted):
    """A converted network over T steps, as the profile sees it; see `fastsnn.profile.subject.Subject`."""

    source = "converted"

    def __init__(self, snn: SpikingNetwork, T: int) -> None:
        super().__init__(snn.program, snn.report.rows, T, snn.device)
        self.snn = snn
        self.precision: str | None = snn.precision
        self.name = snn.report.title.split(" -> ")[0]
        self.method: str | None = str(snn.method)

    def observe(self, x: Tensor) -> tuple[Observed, Tensor | None]:
        """Runs images x [B, C, *S]: what was counted, and the first output after each step, [T, B, ...]."""
        return self.counted(len(x), self.snn.chunks(x, self.T, record=self.recorded, over_time=True))

    def run(self, x: Tensor, T: int | None = None) -> Any:
        """One run as users do it."""
        return self.snn(x, T or self.T)

    def seconds(self, x: Tensor, rounds: int) -> dict[str, list[float]]:
        """Of each layer that is timed by itself, in each round."""
        return self.snn.layer_seconds(x, self.T, rounds)

    def forget(self) -> None:
        """Lets go of memory that is kept for the next run."""
        self.snn.forget()
