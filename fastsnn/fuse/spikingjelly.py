"""SpikingJelly's modules (2.0.0, and 0.0.0.0.14): IF, LIF, parametric LIF, half-threshold IF, what `ann2snn` makes."""

from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.fuse.spec import Seen, Spec, leaky

PACKAGE = "spikingjelly"
# what has a state in training only
STATELESS = ("Dropout", "Dropout2d", "DropConnectLinear")
# chains that are given all steps at once, whatever the step mode of what is in them
CONTAINERS = ("SeqToANNContainer", "MultiStepContainer", "StepModeContainer")


def seen(module: Any) -> Seen | None:
    """What a module of the library is; None for layers without a state, which run as they are."""
    known = {"IFNode": _if, "HalfThresholdIFNode": _if, "LIFNode": _lif, "ParametricLIFNode": _parametric}
    name = type(module).__name__
    if name in known:
        spiking = getattr(module.surrogate_function, "spiking", True)
        return Seen(known[name](module)) if spiking else Seen(stays="its surrogate function does not spike")
    if name in CONTAINERS:
        return Seen(instead=nn.Sequential(*module))
    memory = any(base.__name__ == "MemoryModule" for base in type(module).__mro__)
    if memory and name not in STATELESS:
        return Seen(stays=f"neurons of the kind {name} are not among {', '.join(known)}")
    return None


def single_step(model: Any) -> None:
    """Makes all modules of a copy take one step at a time."""
    for module in model.modules():
        if hasattr(module, "step_mode"):
            module.step_mode = "s"


def step(module: Any, x: Tensor) -> Any:
    """Calls a module that stays with one step [B, ...]."""
    return module(x)


def reset(module: Any) -> None:
    if hasattr(module, "reset"):
        module.reset()


def _if(node: Any) -> Spec:
    return leaky(1.0, node.v_threshold, comparator=">=", hard=node.v_reset, start=_start(node))


def _lif(node: Any) -> Spec:
    return _leaky(node, 1 / node.tau)


def _parametric(node: Any) -> Spec:
    return _leaky(node, torch.sigmoid(node.w.detach().double()))


def _leaky(node: Any, share: float | torch.Tensor) -> Spec:
    """V += share (I - (V - V_reset)), or V -= share (V - V_reset) and V += I where the input does not decay."""
    rest = 0.0 if node.v_reset is None else node.v_reset
    gain = share if node.decay_input else 1.0
    leak, start = 1 - share, _start(node)
    return leaky(leak, node.v_threshold, comparator=">=", hard=node.v_reset, gain=gain, drift=share * rest, start=start)


def _start(node: Any) -> float | torch.Tensor:
    """The potential that `reset` gives."""
    return node._memories_rv["v"]
