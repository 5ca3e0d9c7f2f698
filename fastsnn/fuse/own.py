"""The modules of `fastsnn.nn`."""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from fastsnn.fuse.spec import Seen, Spec
from fastsnn.nn import IF, PerStep, Stateful
from fastsnn.nn.weighted import Weighted

PACKAGE = "fastsnn"


def seen(module: nn.Module) -> Seen | None:
    """What a module of the library is; None for what is none of `fastsnn.nn`."""
    if isinstance(module, IF):
        theta = module.threshold.double()
        return Seen(Spec(module.rules, theta, start=theta * module.initial_potential.double(), per_channel=True))
    if isinstance(module, Weighted):
        return Seen(instead=nn.Sequential(OrderedDict(linear=module.linear, neurons=module.neurons)))
    if isinstance(module, PerStep):
        return Seen(instead=module.module)
    return Seen(stays="it has a step of its own") if isinstance(module, Stateful) else None


def step(module: nn.Module, x: Tensor) -> Any:
    """Calls a module that stays with one step [B, ...]."""
    return module(x[None])[0]


def reset(module: nn.Module) -> None:
    if isinstance(module, Stateful):
        module.reset()
