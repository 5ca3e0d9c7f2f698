"""Activations that are quantised while training (QCFS and its kin): rounding beside a clamp from 0 to a bound.

A spiking neuron quantises by itself, to T levels. What is rounded in the network becomes the number that it is on
average: floor(x) is x - 1/2. So QCFS, bound * clip(floor(x L / bound + 1/2) / L, 0, 1), becomes the clipped ReLU with
that bound. Source: Bu et al., ICLR 2022.
"""

import torch

from fastsnn.convert.graph import Affine, Neuron, Node
from fastsnn.convert.rules.call import Call, Refusal, affine

# what rounding adds on average
SHIFTS = {"floor": -0.5, "round": 0.0, "ceil": 0.5}
AFFINE = {"mul", "div", "add", "sub", "rsub", "neg", *SHIFTS}
CLAMPS = {"clamp", "clip", "hardtanh", "relu6", "clamp_max", "clamp_min", "minimum", "maximum", "relu"}
PASSED = {"clone", "alias", "detach", "_to_copy", "to", "contiguous"}


def rounding(call: Call, x: Node) -> Node:
    shift = SHIFTS[call.operator]
    silent = _at_zero(call, x)
    if silent is not None and not torch.allclose(silent + shift, torch.zeros_like(silent)):
        raise Refusal(
            f"{call.operator} after a clamp has a spiking form only where 0 stays 0 on average: floor(x + 1/2) or round"
        )
    if silent is None and not _before_clamp(call.node):
        raise Refusal(
            f"{call.operator} has a spiking form only beside a clamp from 0 to a bound, as in activations that were "
            "trained with quantisation (QCFS)"
        )
    return affine(call, x, 1.0, shift)


def _at_zero(call: Call, x: Node) -> torch.Tensor | None:
    """What an affine function of one activation with an upper bound is where that is 0; None for any other value."""
    chain = []
    while isinstance(x.payload, Affine):
        chain.append(x.payload)
        x = call.graph.nodes[x.inputs[0]]
    if not isinstance(x.payload, Neuron) or x.payload.bound is None:
        return None
    value = torch.zeros((), dtype=torch.float64)
    for payload in reversed(chain):
        value = value * payload.scale + payload.shift
    return value


def _before_clamp(node: torch.fx.Node) -> bool:
    """Whether all that reads a value, through products and sums with constants, clamps it."""
    names = [getattr(user.target, "__name__", str(user.target)).split(".")[0] for user in node.users]
    pairs = list(zip(node.users, names, strict=True))
    return bool(pairs) and all(
        name in CLAMPS or (name in AFFINE | PASSED and _before_clamp(user)) for user, name in pairs
    )
