"""What stands for spiking neurons while a network is traced: operators that have nothing but their name.

They read the state that the network hands on, though only to keep every call alive and its order known.
"""

from typing import Any

import torch
from torch import Tensor, nn


@torch.library.custom_op("fastsnn::spiking", mutates_args=())
def spiking(x: Tensor, state: list[Tensor], name: str) -> Tensor:
    return x.clone()


@spiking.register_fake
def _(x: Tensor, state: list[Tensor], name: str) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("fastsnn::potential", mutates_args=())
def potential(x: Tensor, spikes: Tensor | None, state: list[Tensor], name: str, shows: str) -> Tensor:
    return x.clone()


@potential.register_fake
def _(x: Tensor, spikes: Tensor | None, state: list[Tensor], name: str, shows: str) -> Tensor:
    return torch.empty_like(x)


# what libraries call the tensors of a state, in the order of `PotentialLayer`'s
STATES = ("syn", "mem")


class Mark(nn.Module):
    """Stands for the neurons `name`.

    pair     they are given and return a state, which is None here
    shows    what they return of their state beside their spikes, see `fastsnn.program.potential.SHOWN`
    silent   they never spike
    readout  they return their potential in place of spikes
    """

    def __init__(
        self, name: str, pair: bool = False, shows: tuple[str, ...] = (), silent: bool = False, readout: bool = False
    ) -> None:
        super().__init__()
        self.name, self.pair, self.shows, self.silent, self.readout = name, pair, shows, silent, readout

    def forward(self, x: Tensor, *state: Any, **named: Any) -> Any:
        given = (*state, *(named.get(name) for name in STATES))
        before = [value for value in given if isinstance(value, Tensor)]
        out = potential(x, None, before, self.name, "before") if self.readout else spiking(x, before, self.name)
        spikes = None if self.silent else out
        if self.shows:
            return (out, *(potential(x, spikes, before, self.name, shows) for shows in self.shows))
        return (out, None) if self.pair else out

    def reset_mem(self) -> Any:
        """As snnTorch's neurons give their first state."""
        return None if len(self.shows) < 2 else (None,) * len(self.shows)

    init_leaky = init_lapicque = init_synaptic = reset_mem
