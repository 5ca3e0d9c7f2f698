"""Which backend of a GPU takes a call first where several can: by what was measured on it, or else by declaration."""

from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

import torch
from torch import Tensor

from fastsnn import _env
from fastsnn._kept import Kept

# backends whose order is a matter of measurement
RIVALS = ("triton", "cuda")

# seconds by backend
Times = dict[str, float]


def _times(found: Any) -> Times:
    times = {str(name): float(seconds) for name, seconds in found.items()}
    if not times or not set(times) <= set(RIVALS):
        raise ValueError(f"not the times of {RIVALS}: {found}")
    return times


MEASURED = Kept[Times]("order", ("triton", "cupy", "fastsnn"), _times, dict)


# what is told of a tensor: its type, and how many numbers it has
Sized = tuple[torch.dtype, int]


def sized(tensors: Sequence[Tensor]) -> list[Sized]:
    return [(x.dtype, x.numel()) for x in tensors]


def kind(op: str, arguments: Sequence[Sized]) -> str:
    """What has to be equal for a measurement to tell of a call: the operator and the types of its first arguments."""
    return " ".join([op, *(str(dtype).removeprefix("torch.") for dtype, _ in arguments)])


def key(op: str, arguments: Sequence[Sized]) -> str:
    """The kind, and how many numbers each argument has, as a power of two."""
    return f"{kind(op, arguments)} @ {' '.join(str(round(_log(n))) for _, n in arguments)}"


MOST_FOUND = 1024
_found: dict[tuple, tuple[str, ...]] = {}


def remember(op: str, tensors: Sequence[Tensor], seconds: Mapping[str, float]) -> None:
    """Keeps what a call took on each backend, on this kind of GPU and in later processes too."""
    MEASURED.store(key(op, sized(tensors)), dict(seconds), tensors[0].device)


def fastest(op: str, arguments: Sequence[Sized], device: torch.device) -> tuple[str, ...]:
    """The backends from the fastest on, as measured for the nearest size of this kind; empty where nothing was."""
    # asked at every call of an operator on a GPU
    call = (op, *arguments, device, _env.CACHE, MEASURED.changes)
    if call not in _found:
        if len(_found) >= MOST_FOUND:
            _found.clear()
        known = MEASURED.all(device)
        times = known.get(key(op, arguments)) or _nearest(known, op, arguments)
        _found[call] = tuple(sorted(times, key=times.__getitem__)) if times else ()
    return _found[call]


def measured(op: str, device: torch.device) -> dict[str, Times]:
    """All measurements of an operator on a device: what was called -> seconds by backend."""
    return {k: times for k, times in MEASURED.all(device).items() if k.split(" ", 1)[0] == op}


def told(times: Times) -> str:
    """What each backend took, the fastest first, for a person."""
    return ", ".join(f"{name} {1e6 * times[name]:.3g} us" for name in sorted(times, key=times.__getitem__))


def _nearest(known: Mapping[str, Times], op: str, arguments: Sequence[Sized]) -> Times | None:
    wanted = [_log(n) for _, n in arguments]
    begin, found = f"{kind(op, arguments)} @ ", []
    for name, times in known.items():
        if name.startswith(begin):
            sizes = [float(n) for n in name.removeprefix(begin).split()]
            found.append((sum(abs(a - b) for a, b in zip(sizes, wanted, strict=True)), name, times))
    return min(found)[2] if found else None


def _log(n: int) -> float:
    return log2(max(n, 1))
