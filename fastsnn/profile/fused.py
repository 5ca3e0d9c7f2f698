"""How a fused network is observed: on sequences, or on images that every step sees."""

from typing import Any

import torch
from torch import Tensor

from fastsnn.fuse.network import FusedNetwork
from fastsnn.fuse.report import FuseReport
from fastsnn.profile.counts import Observed
from fastsnn.profile.programs import Counted


class Fused(Counted):
    """A fused network over T steps, as the profile sees it; see `fastsnn.profile.subject.Subject`.

    held   whether images [B, C, *S] are the input of every step; otherwise it is given sequences, batch first:
           [B, T, C, *S]
    """

    source, stepwise = "fused", True
    method: str | None = None

    def __init__(self, network: FusedNetwork, T: int, held: bool) -> None:
        report = network.report
        # a part of a network has a report of its layers only
        layers = report.layers[0] if isinstance(report, FuseReport) else report
        program = network.running(held)
        super().__init__(program, layers.rows, T, network.device)
        self.network, self.held = network, held
        dtype = next(iter(program.neurons.values())).bias.dtype
        self.precision: str | None = str(dtype).removeprefix("torch.")
        self.name = report.title.split(", ")[0]

    def observe(self, x: Tensor) -> tuple[Observed, Tensor | None]:
        """Runs inputs x: what was counted, and the mean of the first output over the steps so far, [T, B, ...].

        Raises ValueError for sequences of another length than T.
        """
        if not self.held and x.shape[1] != self.T:
            raise ValueError(
                f"profile needs sequences of {self.T} steps, as those of the first batch, got {x.shape[1]}"
            )
        found, output = self.counted(len(x), self.network.chunks(*self._given(x, self.T), record=self.recorded))
        return found, over_time(output)

    def run(self, x: Tensor, T: int | None = None) -> Any:
        """One run as users do it."""
        return self.network(*self._given(x, T or self.T))

    def seconds(self, x: Tensor, rounds: int) -> dict[str, list[float]]:
        """Of each layer that is timed by itself, in each round."""
        return self.network.layer_seconds(*self._given(x, self.T), rounds=rounds)

    def forget(self) -> None:
        """Lets go of memory that is kept for the next run."""
        self.network.forget()

    def _given(self, x: Tensor, T: int) -> tuple[Tensor, int | None]:
        return (x, T) if self.held else (x.transpose(0, 1)[:T], None)


def over_time(outputs: Tensor) -> Tensor:
    """The mean over the steps so far of what a network gave at each step, [T, B, ...]."""
    steps = torch.arange(1, len(outputs) + 1, device=outputs.device).view(-1, *[1] * (outputs.ndim - 1))
    return outputs.cumsum(0) / steps
