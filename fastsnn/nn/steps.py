"""Ordinary modules in networks of sequences."""

from typing import Any

from torch import Tensor, nn

from fastsnn.nn.sequence import require


class PerStep(nn.Module):
    """A module without a state on each step of a sequence [T, B, ...]: all steps are one batch of it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        require("PerStep", x)
        return self.module(x.flatten(0, 1)).unflatten(0, x.shape[:2])
