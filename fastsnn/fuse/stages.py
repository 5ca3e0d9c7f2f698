"""A chain of modules of which only parts can be fused: those as one call, the others step by step, or all at once."""

import copy
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.errors import ConversionError
from fastsnn.fuse.network import FusedNetwork
from fastsnn.fuse.single import found, fused, library_of
from fastsnn.nn import PerStep


class Stepped(nn.Module):
    """A module with a state, as it is: step by step from its reset state.

    pair  it is given its state and returns it
    """

    def __init__(self, module: nn.Module, library: ModuleType, pair: bool) -> None:
        super().__init__()
        self.module, self.library, self.pair = module, library, pair

    def forward(self, x: Tensor) -> Tensor:
        for inner in self.module.modules():
            self.library.reset(inner)
        outputs, state = [], None
        for step in x:
            out: Any = self.module(step, state) if self.pair else self.library.step(self.module, step)
            out, state = out if self.pair else (out, None)
            outputs.append(out[0] if isinstance(out, tuple) else out)
        return torch.stack(outputs)


class FusedChain(nn.Module):
    """What `fastsnn.fuse` makes of a chain of modules some of which stay as they are, for inference only.

    Takes and gives sequences [T, B, ...] from the reset state; `report` says what became of each module.
    """

    def __init__(self, parts: Sequence[nn.Module], report: Any = None) -> None:
        super().__init__()
        self.parts, self.report = nn.ModuleList(parts), report
        super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 3 or not x.is_floating_point():
            raise ValueError(f"this network takes floating-point sequences [T, B, ...], got {x.dtype} {list(x.shape)}")
        for part in self.parts:
            out = part(x)
            x = out[0] if isinstance(out, tuple) else out
        return x


def chain(model: nn.Sequential, example: Tensor, precision: str) -> FusedChain:
    """A chain in parts: modules that stay, and what is between them fused.

    example  a sequence [T, B, ...]
    """
    model = copy.deepcopy(model).eval()
    parts: list[nn.Module] = []
    waiting: list[nn.Module] = []
    x = example

    def add(part: nn.Module) -> None:
        nonlocal x
        parts.append(part)
        out = part(x)
        x = out[0] if isinstance(out, tuple) else out

    def flush() -> None:
        if not waiting:
            return
        group = type(model)(*waiting)
        spiking = any(each.what.spec is not None for each in found(group))
        add(fused(group, x[0], precision) if spiking else PerStep(nn.Sequential(*waiting)))
        waiting.clear()

    with torch.no_grad():
        for module in model:
            stays = [each for each in found(module) if each.what.stays]
            if not stays:
                waiting.append(module)
                continue
            flush()
            library = library_of(stays[0].module)
            if library is None:
                raise ConversionError(f"{type(module).__name__} is of no library that is known")
            add(Stepped(module, library, stays[0].module is module and stays[0].what.pair))
        flush()
    if not any(isinstance(part, FusedNetwork) for part in parts):
        raise ConversionError("no part of it has neurons that kernels run")
    return FusedChain(parts)
