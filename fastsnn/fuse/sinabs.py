"""sinabs' modules (3.1.3): IAF and LIF with one or more spikes a step, leaky integrators, all also squeezed; sums."""

from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.convert.rules.call import Refusal
from fastsnn.firing import levels
from fastsnn.fuse.spec import Seen, Spec, integrator, leaky
from fastsnn.neurons import Graded

PACKAGE = "sinabs"
INTEGRATORS = ("ExpLeak", "ExpLeakSqueeze")
NEURONS = ("IAF", "IAFSqueeze", "LIF", "LIFSqueeze")
# of neurons without a limit: what is above stays in the potential for the next step
MOST_SPIKES = 31


def seen(module: Any) -> Seen | None:
    """What a module of the library is; None for layers without a state, which run as they are."""
    name = type(module).__name__
    if name in NEURONS:
        return Seen(_leaky(module))
    if name in INTEGRATORS:
        return Seen(_integrator(module), readout=True)
    if name in ("FlattenTime", "UnflattenTime"):
        return Seen(instead=nn.Identity())
    if name == "Repeat":
        return Seen(instead=module.module)
    if name == "SumPool2d":
        # the norm of which it is the first has a sign and a root in its formula
        pool = nn.AvgPool2d(module.kernel_size, module.stride, ceil_mode=module.ceil_mode, divisor_override=1)
        return Seen(instead=pool)
    if any(base.__name__ == "StatefulLayer" for base in type(module).__mro__):
        return Seen(stays=f"neurons of the kind {name} are not among {', '.join((*NEURONS, *INTEGRATORS))}")
    return None


def step(module: Any, x: Tensor) -> Any:
    """Calls a module that stays with one step [B, ...]; those that are not squeezed take [B, T, ...]."""
    return module(x) if hasattr(module, "squeeze_forward") else module(x.unsqueeze(1)).squeeze(1)


def reset(module: Any) -> None:
    if hasattr(module, "reset_states"):
        module.reset_states()


def _integrator(layer: Any) -> Spec:
    if layer.min_v_mem is not None:
        raise Refusal("its potential has a lower bound, min_v_mem")
    alpha = layer.alpha_mem_calculated.detach().double()
    return integrator(alpha, gain=1 - alpha if layer.norm_input else 1.0)


def _leaky(layer: Any) -> Spec:
    if layer.min_v_mem is not None:
        raise Refusal("its potential has a lower bound, min_v_mem")
    alpha = layer.alpha_mem_calculated.detach().double()
    resets, spikes = layer.reset_fn, layer.spike_fn
    hard = type(resets).__name__ == "MembraneReset"
    if not hard and type(resets).__name__ != "MembraneSubtract":
        raise Refusal(f"its reset_fn {type(resets).__name__} is not MembraneSubtract or MembraneReset")
    if hard and resets.reset_value != 0:
        raise Refusal("its reset_value is added at every step")
    # i = alpha_syn (i + I): the current decays with what has just come
    synapse = layer.alpha_syn_calculated
    arrives = 1.0 if synapse is None else synapse.detach().double()
    threshold = layer.spike_threshold
    spec = leaky(
        alpha,
        threshold,
        comparator=">=",
        hard=0.0 if hard else None,
        taken=None if hard or resets.subtract_value is None else torch.as_tensor(resets.subtract_value),
        gain=arrives * (1 - alpha if layer.norm_input else 1.0),
        synapse=None if synapse is None else synapse.detach(),
    )
    most = _most(spikes)
    if most == 1:
        return spec
    if synapse is not None:
        raise Refusal("neurons with several spikes a step have no synaptic current here")
    if hard or getattr(resets, "subtract_value", None) is not None:
        raise Refusal("neurons with several spikes a step need MembraneSubtract() of the threshold")
    return Spec(Graded(levels(most), leak=spec.rules.firing.leak), threshold, spec.gain)


def _most(spike_fn: object) -> int:
    """How many spikes a step it allows."""
    name = getattr(spike_fn, "__name__", type(spike_fn).__name__)
    if name == "SingleSpike":
        return 1
    if name == "MultiSpike":
        return MOST_SPIKES
    if name == "MaxSpike":
        limit = getattr(spike_fn, "max_num_spikes_per_bin", None)
        return MOST_SPIKES if limit is None else int(limit)
    raise Refusal(f"its spike_fn {name} is not SingleSpike, MultiSpike or MaxSpike")
