"""Which backends of a GPU can run here, and how a call is sent to one of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fastsnn import _cuda, _env, _triton
from fastsnn._order import RIVALS

MODULES = {"triton": _triton, "cuda": _cuda}


@contextmanager
def forced(name: str) -> Iterator[None]:
    """Inside, operators take this backend, and no other."""
    before = _env.BACKEND
    _env.BACKEND = name
    try:
        yield
    finally:
        _env.BACKEND = before


def why_not(name: str, on: torch.device) -> str | None:
    """Why the kernels of one of RIVALS do not run on a device, or None. On the CPU they are interpreted or emulated."""
    module = MODULES[name]
    with forced(name):
        return module.reason() or module.refuse(torch.empty(0, device=on))


def able(on: torch.device) -> list[str]:
    """Those of RIVALS whose kernels run on a device; of the others it is said why not."""
    reasons = {name: why_not(name, on) for name in RIVALS}
    for name, why in reasons.items():
        if why is not None:
            print(f"left out: {name}: {why}", flush=True)
    return [name for name, why in reasons.items() if why is None]
