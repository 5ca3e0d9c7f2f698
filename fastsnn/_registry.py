"""Which backend runs a call, and why the others do not."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import torch
from torch import Tensor

from fastsnn import _env, _order
from fastsnn.errors import BackendUnavailable

NAMES = ("cuda", "triton", "native", "reference")
FAMILIES = ("pack", "if_steps", "if_constant", "adaptive", "conv_if", "linear_if", "pool", "readout", "emit", "restart")
# each operator's family, and what its backends are called there
OPERATORS = {
    "pack": ("pack", "BACKENDS"),
    "unpack": ("pack", "UNPACK_BACKENDS"),
    "counts": ("pack", "COUNTS_BACKENDS"),
    **{name: (name, "BACKENDS") for name in ("if_steps", "if_constant", "conv_if", "linear_if")},
    "adaptive_steps": ("adaptive", "BACKENDS"),
    "pool_or": ("pool", "BACKENDS"),
    "pool_gate": ("pool", "GATE_BACKENDS"),
    "pool_counts": ("pool", "COUNTS_BACKENDS"),
    "pool_lateral": ("pool", "LATERAL_BACKENDS"),
    **{name: (name, "BACKENDS") for name in ("readout", "emit", "restart")},
}


@dataclass(frozen=True)
class Backend:
    """One implementation of a family.

    name     what FASTSNN_BACKEND selects, one of NAMES
    target   "module:function", imported on first use
    refuse   the call's tensors -> why this backend does not take it, or None
    absent   why this backend cannot run on this machine at all, or None
    """

    name: str
    target: str
    refuse: Callable[..., str | None]
    absent: Callable[[], str | None] = lambda: None


@cache
def load(target: str) -> Callable:
    module, function = target.split(":")
    return getattr(import_module(module), function)


def exporting() -> bool:
    """Whether torch.export is tracing, which sees operators and no backend of them."""
    # torch 2.6 has no such flag for its users
    return getattr(torch.compiler, "is_exporting", lambda: False)()


def choose(op: str, backends: tuple[Backend, ...], *tensors: Tensor) -> Callable:
    """The function of the backend that `pick` gives; while torch.export traces the operator, which takes the same."""
    if exporting():
        return getattr(torch.ops.fastsnn, op)
    return load(pick(op, backends, *tensors).target)


def pick(op: str, backends: tuple[Backend, ...], *tensors: Tensor) -> Backend:
    """The first backend that accepts the call; a forced one that cannot raises with every backend's reason."""
    return able(op, backends, *tensors, most=1)[0]


def able(op: str, backends: tuple[Backend, ...], *tensors: Tensor, most: int | None = None) -> list[Backend]:
    """The backends that accept the call, the preferred one first, `most` of them; raises where there is none."""
    forced = _env.BACKEND
    if forced is not None and forced not in NAMES:
        raise BackendUnavailable(f"FASTSNN_BACKEND must be one of {', '.join(NAMES)}, got {forced!r}")
    found, reasons = [], []
    for backend in _ordered(op, backends, tensors):
        why = f"FASTSNN_BACKEND={forced}" if forced not in (None, backend.name) else None
        why = why or backend.absent() or backend.refuse(*tensors)
        if why is None:
            found.append(backend)
            if len(found) == most:
                return found
        else:
            reasons.append(f"{backend.name}: {why}")
    if found:
        return found
    missing = [name for name in NAMES if name not in {b.name for b in backends}]
    reasons += [f"{name}: this family has no {name} implementation" for name in missing]
    raise BackendUnavailable(f"{op}: no backend takes this call: " + "; ".join(reasons))


def _ordered(op: str, backends: tuple[Backend, ...], tensors: tuple[Tensor, ...]) -> tuple[Backend, ...]:
    """As declared, but that on a GPU the faster ones come first, where that was measured."""
    if not tensors or not getattr(tensors[0], "is_cuda", False) or _env.BACKEND is not None:
        return backends
    order = _order.fastest(op, _order.sized(tensors), tensors[0].device)
    ranks = {name: rank for rank, name in enumerate(order)}
    # sorting is stable: what was not measured stays behind what was, in the order of declaration
    return tuple(sorted(backends, key=lambda b: ranks.get(b.name, len(ranks)))) if ranks else backends


def backends(op: str) -> dict[str, Backend]:
    """The backends of an operator by name, in the order of declaration."""
    family, name = OPERATORS[op]
    return {b.name: b for b in getattr(import_module(f"fastsnn.ops.{family}.op"), name)}


def table() -> list[tuple[str, dict[str, str | None]]]:
    """One row a family: backend name -> None where it can run on this machine, else the reason why not."""
    rows = []
    for family in FAMILIES:
        have = backends(next(op for op, (of, _) in OPERATORS.items() if of == family))
        rows.append(
            (
                family,
                {
                    name: have[name].absent() if name in have else f"this family has no {name} implementation"
                    for name in NAMES
                },
            )
        )
    return rows
