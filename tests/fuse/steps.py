"""Networks of libraries run by themselves, step by step, and what may differ from them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# of float32
EPSILON = 2.0**-24


def by_itself(step: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A network called once a step on a sequence [T, B, ...]."""
    with torch.no_grad():
        return torch.stack([step(now) for now in x])


def livelier(model: nn.Module, by: float = 3.0) -> nn.Module:
    """The same network with larger weights, so that its neurons fire, in eval mode and float64.

    In float64 no potential comes within rounding of a threshold by chance. Libraries that make float32 of spikes have
    theirs made float64.
    """
    for module in model.modules():
        if type(module).__module__.partition(".")[0] in ("snntorch", "sinabs"):
            module.register_forward_hook(_double)
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.weight.data *= by
    return model.double().eval()


def _double(module: nn.Module, args: tuple, out: Any) -> Any:
    return tuple(part.double() for part in out) if isinstance(out, tuple) else out.double()


def unexplained(ours: Tensor, theirs: Tensor, potentials: Tensor, threshold: float, bound: Tensor) -> int:
    """Neurons whose first different spike was not within rounding of the threshold.

    ours, theirs  spikes [T, N]
    potentials    before the reset at each step [T, N], of a run in float64 that fired as `theirs` did
    bound         [T]: how far potentials may be from those of another order of summation
    """
    differ = ours != theirs
    first = differ.to(torch.int8).argmax(0, keepdim=True)
    away = (potentials.gather(0, first) - threshold).abs() > bound[first]
    return int((away & differ.any(0)).sum())
