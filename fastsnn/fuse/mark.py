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


@torch.library.custom_op("fastsnn::potential", mutates_args=())
def potential(x: Tensor, name: str) -> Tensor:
    raise RuntimeError(f"the potentials of {name} are not known outside of the kernels")


@potential.register_fake
def _(x: Tensor, name: str) -> Tensor:
    return torch.empty_like(x)


class Mark(nn.Module):
    """Stands for the neurons `name`.

    pair    they are given and return their state, which is None here
    states  how many tensors their state has that they are given and return, of which only the shape is known here
    """

    def __init__(self, name: str, pair: bool, states: int = 0) -> None:
        super().__init__()
        self.name, self.pair, self.states = name, pair, states

    def forward(self, x: Tensor, *state: Any, **named: Any) -> Any:
        out = spiking(x, self.name)
        if self.states:
            return (out, *(potential(x, self.name) for _ in range(self.states)))
        return (out, None) if self.pair else out

    def reset_mem(self) -> Any:
        """As snnTorch's neurons give their first state."""
        return None if self.states < 2 else (None,) * self.states

    init_leaky = init_lapicque = init_synaptic = reset_mem
