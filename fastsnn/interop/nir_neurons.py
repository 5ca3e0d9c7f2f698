"""What the neurons of a NIR graph are in discrete time, as the library means them that wrote the graph."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastsnn.convert.rules.call import Refusal
from fastsnn.fuse.spec import Spec, integrator, leaky, one

INTEGRATORS = ("I", "LI", "CubaLI")
# in the metadata of what `to_nir` writes
RESET, START, COMPARATOR = "reset", "initial_potential", "comparator"


@dataclass(frozen=True)
class Writer:
    """How a library writes its neurons.

    dt        what its time constants are multiples of, in the file's units
    soft      spikes are subtracted, at the next step, where the potential has not decayed: see `fastsnn.fuse.snntorch`
    jumps     a spike raises a synaptic current by all of its weight, not by dt / tau_syn of it
    """

    dt: float = 1e-4
    soft: bool = False
    jumps: bool = False


# Norse writes dt / tau_inv where the standard has tau: with its dt of 0.001 a step is 1e-6 of that
WRITERS = {"nir": Writer(), "snntorch": Writer(soft=True), "norse": Writer(dt=1e-6, jumps=True)}


def spec(node: Any, writer: Writer) -> Spec:
    """The neurons of a node, by forward Euler steps; I, LI and CubaLI are the same without spikes: V is the output.

        IF       V += r I
        LIF      V += dt / tau (v_leak - V + r I)
        CubaLIF  J += dt / tau_syn (w_in I - J);   V += dt / tau_mem (v_leak - V + r J)
        spike where V > v_threshold;   V = v_reset

    Raises `Refusal` for parameters that no kernel has.
    """
    kind = type(node).__name__
    said = {key: _text(value) for key, value in (node.metadata or {}).items()}
    silent = kind in INTEGRATORS
    # an integrator's potential is measured in thresholds of 1
    ends = (1.0, 0.0) if silent else (node.v_threshold, node.v_reset)
    theta, v_reset = map(_numbers, ends)
    if kind in ("I", "IF"):
        share, kept, rest = torch.ones(()), torch.ones(()), v_reset
    else:
        share = writer.dt / _numbers(node.tau if kind in ("LI", "LIF") else node.tau_mem)
        kept, rest = 1 - share, _numbers(node.v_leak)
    common: dict[str, Any] = {"gain": share * _numbers(node.r), "start": rest}
    if kind not in ("I", "IF"):
        common["drift"] = share * rest
    if kind.startswith("Cuba"):
        arrives = writer.dt / _numbers(node.tau_syn)
        common["synapse"] = 1 - arrives
        common["gain"] = common["gain"] * _numbers(node.w_in) * (1.0 if writer.jumps else arrives)
    if START in said:
        common["start"] = torch.as_tensor(float(said[START])) * theta
    if silent:
        return integrator(kept, **common)
    common["comparator"] = said.get(COMPARATOR, ">")
    if said.get(RESET, "soft" if writer.soft else "hard") == "hard":
        return leaky(kept, theta, hard=v_reset, **common)
    if not writer.soft:
        return leaky(kept, theta, **common)
    if one(kept, "leak") <= 0:
        raise Refusal("nothing of its potential is kept for a spike to be taken from")
    return leaky(kept, theta, taken=theta / kept, **common)


def _numbers(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().double()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
