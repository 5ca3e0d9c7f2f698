"""What can be profiled: a converted or fused network, or a torch module that calls fastsnn's operators or holds one."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fastsnn.fuse.network import FusedNetwork
from fastsnn.network import SpikingNetwork
from fastsnn.profile.converted import Converted
from fastsnn.profile.counts import Observed
from fastsnn.profile.fused import Fused
from fastsnn.profile.layout import Facts
from fastsnn.profile.module import Module
from fastsnn.profile.raster import Rows
from fastsnn.profile.schema import Bytes


class Subject(Protocol):
    """A spiking network over T steps.

    source, name, method, precision    see `schema.Network`
    facts                              its layers, in order
    rows                               once it has seen an image: some neurons of each layer, with their spikes
    least                              steps that `run` takes at least
    stepped                            whether `run` takes fewer steps, and the output is known after each
    """

    source: str
    name: str
    method: str | None
    precision: str | None
    device: torch.device
    T: int
    least: int
    facts: list[Facts]
    rows: dict[str, Rows]
    stepped: bool

    def observe(self, x: Tensor) -> tuple[Observed, Tensor | None]:
        """Runs images [B, C, *S] or sequences [B, T, C, *S]: what was counted; the output after each step [T, B, ...]
        or at the end [B, ...]."""
        ...

    def run(self, x: Tensor, T: int | None = None) -> Any:
        """One run as users do it."""
        ...

    def seconds(self, x: Tensor, rounds: int) -> dict[str, list[float]]:
        """Of each layer that is timed by itself, in each round."""
        ...

    def moved(self, batch: int) -> dict[str, Bytes]:
        """Bytes of one pass over a batch, by layer."""
        ...

    def parameters(self) -> int:
        """Numbers among weights and biases."""
        ...

    def forget(self) -> None:
        """Lets go of memory that is kept from run to run."""
        ...


def subject(network: nn.Module, example: Tensor, timesteps: int | None, sequences: bool) -> Subject:
    """The network as a subject.

    example    images [B, C, *S], or sequences [B, T, C, *S]
    sequences  which of them; such a network takes [T, B, C, *S]

    Raises ValueError for steps that a network decides by itself, or no spiking neurons.
    """
    if isinstance(network, SpikingNetwork):
        if sequences:
            raise ValueError("a converted network takes images, not sequences: leave sequences out")
        return Converted(network, timesteps or network.timesteps)
    if isinstance(network, FusedNetwork):
        if sequences == (timesteps is not None):
            raise ValueError(
                "a fused network is profiled on sequences [T, B, ...] (sequences=True) or on images [B, ...] that each "
                f"step sees (timesteps=T), got sequences={sequences} and timesteps={timesteps}"
            )
        return Fused(network, timesteps or example.shape[1], not sequences)
    if timesteps is not None:
        raise ValueError(
            f"timesteps can be chosen for a converted or fused network; {type(network).__name__} decides by itself, "
            f"got timesteps={timesteps}"
        )
    return Module(network, example, sequences)
