"""A converted network as one operator, so that it can be part of what torch.compile sees as one graph."""

from itertools import count
from typing import Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor


class Network(Protocol):
    """What the operator runs."""

    def run(self, x: Tensor, T: int, over_time: bool) -> list[Tensor]: ...

    def shapes(self, batch: int, T: int, over_time: bool) -> list[tuple[int, ...]]: ...

    def real(self) -> torch.dtype: ...


_networks: WeakValueDictionary[int, Network] = WeakValueDictionary()
_numbers = count()


def number_of(network: Network) -> int:
    """A number by which the operator finds a network, as long as there is one."""
    number = next(_numbers)
    _networks[number] = network
    return number


@torch.library.custom_op(
    "fastsnn::network", mutates_args=(), schema="(Tensor x, int number, int T, bool over_time) -> Tensor[]"
)
def network(x: Tensor, number: int, T: int, over_time: bool) -> list[Tensor]:
    """The outputs of network `number` on images x, channels last: after T steps [B, ...], or after each [T, B, ...]."""
    # outputs of a graph must not alias each other
    return [out.clone() for out in _networks[number].run(x, T, over_time)]


@network.register_fake
def _(x: Tensor, number: int, T: int, over_time: bool) -> list[Tensor]:
    found = _networks[number]
    return [x.new_empty(shape, dtype=found.real()) for shape in found.shapes(x.shape[0], T, over_time)]
