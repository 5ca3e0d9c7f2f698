"""Norse's modules (1.1.0): IAF, LIF and LI, these also without a synaptic current ("box"); others stay as they are.

i += I;   v += dt tau_mem_inv ((v_leak - v) + i);   i -= dt tau_syn_inv i          (box: i = I)
spike where v > v_th;   v = v_reset, or v -= v_th       (LI: v is the output)
"""

from typing import Any

from torch import Tensor

from fastsnn.convert.rules.call import Refusal
from fastsnn.fuse.spec import Seen, Spec, integrator, leaky

PACKAGE = "norse"


def seen(module: Any) -> Seen | None:
    """What a module of the library is; None for layers without a state, which run as they are."""
    name = type(module).__name__
    if name in ("IAF", "IAFCell"):
        p = module.p
        return Seen(leaky(1.0, p.v_th, comparator=">", hard=p.v_reset, start=p.v_reset), pair=True)
    if name in ("LIFBox", "LIFBoxCell"):
        return Seen(_box(module), pair=True)
    if name in ("LIF", "LIFCell"):
        return Seen(_lif(module), pair=True)
    if name in ("LI", "LICell"):
        synapse = 1 - _double(module.dt * module.p.tau_syn_inv)
        return Seen(_integrator(module, synapse=synapse), pair=True, readout=True)
    if name == "LIBoxCell":
        return Seen(_integrator(module), pair=True, readout=True)
    if name == "Lift":
        return Seen(instead=module.lifted_module)
    if any(base.__name__ in ("SNN", "SNNCell", "SNNRecurrent", "SNNRecurrentCell") for base in type(module).__mro__):
        return Seen(stays=f"{name} has more than a potential as its state", pair=True)
    return None


def step(module: Any, x: Tensor) -> Any:
    """Calls a module that stays with one step [B, ...]."""
    return module(x)


def reset(module: Any) -> None:
    """States are arguments."""


def _double(number: Any) -> Any:
    """So that what is taken from 1 is the library's own number, not rounded once more."""
    return number.double() if isinstance(number, Tensor) else number


def _integrator(cell: Any, **more: Any) -> Spec:
    p = cell.p
    share = _double(cell.dt * p.tau_mem_inv)
    return integrator(1 - share, gain=share, drift=share * p.v_leak, start=p.v_leak, **more)


def _lif(cell: Any) -> Spec:
    p = cell.p
    share, synapse = _double(cell.dt * p.tau_mem_inv), 1 - _double(cell.dt * p.tau_syn_inv)
    common = {"gain": share, "drift": share * p.v_leak, "start": p.v_leak}
    return leaky(1 - share, p.v_th, comparator=">", hard=p.v_reset, synapse=synapse, **common)


def _box(cell: Any) -> Spec:
    p = cell.p
    share = _double(cell.dt * p.tau_mem_inv)
    ways = {"reset_value": p.v_reset, "reset_subtract": None}
    name = getattr(p.reset_method, "__name__", str(p.reset_method))
    if name not in ways:
        raise Refusal(f"its reset_method {name} is not among {', '.join(ways)}")
    return leaky(1 - share, p.v_th, comparator=">", hard=ways[name], gain=share, drift=share * p.v_leak, start=p.v_leak)
