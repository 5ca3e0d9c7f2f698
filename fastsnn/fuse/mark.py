"""What stands for spiking neurons while a network is traced: an operator that has nothing but their name."""

from typing import Any

import torch
from torch import Tensor, nn


@torch.library.custom_op("fastsnn::spiking", mutates_args=())
def spiking(x: Tensor, name: str) -> Tensor:
    return x.clone()


@spiking.register_fake
def _(x: Tensor, name: str) -> Tensor:
    return torch.empty_like(x)


class Mark(nn.Module):
    """Stands for the neurons `name`, which are given and return their state where they are a `pair`."""

    def __init__(self, name: str, pair: bool) -> None:
        super().__init__()
        self.name, self.pair = name, pair

    def forward(self, x: Tensor, *state: Any, **named: Any) -> Any:
        out = spiking(x, self.name)
        return (out, None) if self.pair else out
