"""Which packages are optional, and what to install for each."""

from importlib import import_module
from types import ModuleType


class MissingExtra(ImportError):
    """A package that only some verbs and data formats need is not installed; the message says what to install."""


def need(module: str, purpose: str, extra: str = "cli") -> ModuleType:
    """Import an optional module, or raise MissingExtra naming the pip extra that brings it."""
    try:
        return import_module(module)
    except ImportError as e:
        raise MissingExtra(f'{purpose} needs {module} ({e}): pip install "fastsnn[{extra}]"') from e
