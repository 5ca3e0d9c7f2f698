"""The instruction sets that this processor can run, and how tests force one."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastsnn import _native

SETS = _native.load().instruction_sets() if _native.reason() is None else []


@contextmanager
def using(name: str) -> Iterator[None]:
    before = _native.load().instruction_set()
    _native.load().select_instruction_set(name)
    try:
        yield
    finally:
        _native.load().select_instruction_set(before)


def codes() -> bool:
    """Whether spikes become code on this machine, with the instruction set in force."""
    return _native.load().codes()


def tiles() -> bool:
    """Whether sums can be products, with the instruction set in force."""
    return _native.load().tiles() != "none"
