"""Which backend runs a call, and why the others do not."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from torch import Tensor

from fastsnn import _env
from fastsnn.errors import BackendUnavailable

NAMES = ("cuda", "triton", "native", "reference")
FAMILIES = ("pack", "if_steps", "if_constant", "conv_if", "linear_if", "pool", "readout")


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


def choose(op: str, backends: tuple[Backend, ...], *tensors: Tensor) -> Callable:
    """The function of the backend that `pick` gives."""
    return load(pick(op, backends, *tensors).target)


def pick(op: str, backends: tuple[Backend, ...], *tensors: Tensor) -> Backend:
    """The first backend that accepts the call; a forced one that cannot raises with every backend's reason."""
    forced = _env.BACKEND
    if forced is not None and forced not in NAMES:
        raise BackendUnavailable(f"FASTSNN_BACKEND must be one of {', '.join(NAMES)}, got {forced!r}")
    reasons = []
    for backend in backends:
        why = f"FASTSNN_BACKEND={forced}" if forced not in (None, backend.name) else None
        why = why or backend.absent() or backend.refuse(*tensors)
        if why is None:
            return backend
        reasons.append(f"{backend.name}: {why}")
    missing = [name for name in NAMES if name not in {b.name for b in backends}]
    reasons += [f"{name}: this family has no {name} implementation" for name in missing]
    raise BackendUnavailable(f"{op}: no backend takes this call: " + "; ".join(reasons))


def table() -> list[tuple[str, dict[str, str | None]]]:
    """One row a family: backend name -> None where it can run on this machine, else the reason why not."""
    rows = []
    for family in FAMILIES:
        have = {b.name: b for b in import_module(f"fastsnn.ops.{family}.op").BACKENDS}
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
