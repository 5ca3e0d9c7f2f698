"""How near each layer comes to what the machine does at best, and what holds it back (Williams et al. 2009)."""

from collections.abc import Sequence

from fastsnn.profile.schema import Attained, Peaks, Roofline


def roofline(peaks: Peaks, layers: Sequence[tuple[str, int, int, float | None]]) -> Roofline:
    """Layers against the peaks.

    layers  (name, operations, bytes, seconds) of one pass each: additions and multiplications, what is moved if
            everything is read and written once, and the time. Layers without any of the three are left out

    A layer of `intensity` operations a byte is allowed the lesser of the operations that the machine does a second and
    of those that come with the bytes it moves a second. A share above 1 means that bytes came from a cache, or that
    operations were multiplications of numbers, which have a pace of their own.
    """
    found = [
        attained(peaks, name, operations, moved, seconds)
        for name, operations, moved, seconds in layers
        if operations > 0 and moved > 0 and seconds is not None and seconds > 0
    ]
    return {"peaks": peaks, "layers": found}


def attained(peaks: Peaks, name: str, operations: int, moved: int, seconds: float) -> Attained:
    """One layer against the peaks; see `roofline`."""
    intensity = operations / moved
    by_memory = intensity * peaks["bytes_a_second"]
    bound = "memory" if by_memory < peaks["operations_a_second"] else "additions"
    return {
        "layer": name,
        "operations_a_second": operations / seconds,
        "bytes_a_second": moved / seconds,
        "intensity": intensity,
        "bound": bound,
        "share": operations / seconds / min(by_memory, peaks["operations_a_second"]),
    }
