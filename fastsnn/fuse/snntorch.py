"""snnTorch's modules (0.9.4, 1.0.0): Leaky, Lapicque and Synaptic.

    mem[t] = beta mem[t-1] + I[t] - spk[t-1] threshold        "subtract"
    mem[t] = beta (1 - spk[t-1]) mem[t-1] + I[t]              "zero"
    spk[t] = mem[t] > threshold;   Synaptic: syn[t] = alpha syn[t-1] + I[t] in place of I[t]

The reset comes a step late and is not multiplied by beta, so that "subtract" takes threshold / beta from the potential
of the step before.
"""

from typing import Any

import torch
from torch import Tensor

from fastsnn.convert.rules.call import Refusal
from fastsnn.fuse.spec import Seen, Spec, integrator, leaky, one

PACKAGE = "snntorch"
KNOWN = ("Leaky", "Lapicque", "Synaptic")


def seen(module: Any) -> Seen | None:
    """What a module of the library is; None for layers without a state, which run as they are."""
    name = type(module).__name__
    if name in KNOWN:
        # a reset that comes a step late is not yet in the potential that is returned
        potential = "before" if getattr(module, "reset_delay", True) else "after"
        state = ("current", potential) if name == "Synaptic" else (potential,)
        handed = not module.init_hidden
        shows = state if handed or module.output else ()
        return Seen(_leaky(module, alone=not shows), shows=shows, handed=handed)
    if any(base.__name__ == "SpikingNeuron" for base in type(module).__mro__):
        return Seen(stays=f"neurons of the kind {name} are not among {', '.join(KNOWN)}")
    return None


def step(module: Any, x: Tensor) -> Any:
    """Calls a module that stays with one step [B, ...]."""
    return module(x)


def reset(module: Any) -> None:
    if hasattr(module, "reset_mem"):
        module.reset_mem()


def _leaky(node: Any, alone: bool) -> Spec:
    """The neurons; `alone`: they return nothing but spikes."""
    if node.inhibition:
        raise Refusal("its neurons inhibit each other")
    if node.state_quant:
        raise Refusal("its potentials are quantised")
    if node.reset_mechanism == "none" and alone:
        raise Refusal('spikes with reset_mechanism="none" have no kernel')
    lapicque = type(node).__name__ == "Lapicque"
    if lapicque:
        # V += (time_step / C) I - time_step / (R C) V
        step, R, C = (torch.as_tensor(n).detach().double() for n in (node.time_step, node.R, node.C))
        kept, gain = 1 - step / (R * C), step / C
    else:
        kept, gain = torch.as_tensor(node.beta).detach().double().clamp(0, 1), torch.ones(())
    common: dict[str, Any] = {"gain": gain}
    if type(node).__name__ == "Synaptic":
        common["synapse"] = torch.as_tensor(node.alpha).detach().double().clamp(0, 1)
    if node.reset_mechanism == "none":
        return integrator(kept, **common)
    common |= {"comparator": ">", "worth": node.graded_spikes_factor}
    at_once = not getattr(node, "reset_delay", True)
    if node.reset_mechanism == "zero":
        if type(node).__name__ != "Leaky" and not at_once:
            raise Refusal("after a spike it forgets the input of the next step")
        return leaky(kept, node.threshold, hard=0.0, **common)
    if at_once:
        raise Refusal("with reset_delay=False a potential above two thresholds is reset twice")
    if one(kept, "leak") == 1:
        return leaky(kept, node.threshold, **common)
    if one(kept, "leak") == 0:
        raise Refusal("with beta = 0 a spike is taken from a potential that is forgotten")
    return leaky(kept, node.threshold, taken=node.threshold.detach().double() / kept, **common)
