"""Where the compiled module fastsnn._cpu is, and if it is not there, why not."""

from functools import cache
from importlib import import_module
from types import ModuleType

from fastsnn.errors import BackendUnavailable

REMEDY = (
    "build it with `pip install .` in a checkout of fastsnn, which needs a C++17 compiler and "
    "FASTSNN_NATIVE_MODULE unset or 1, or choose another backend"
)


@cache
def _find() -> tuple[ModuleType | None, str | None]:
    """(module, None), or (None, the reason). Once a process: a module that appears later needs a restart."""
    try:
        return import_module("fastsnn._cpu"), None
    except ImportError as error:
        return None, f"the native module does not load ({error}); {REMEDY}"


def load() -> ModuleType:
    """The compiled module, imported on the first call. Raises BackendUnavailable with the reason when absent."""
    module, why = _find()
    if module is None:
        raise BackendUnavailable(why)
    return module


def reason() -> str | None:
    """Why the compiled module cannot be used, or None when it can."""
    return _find()[1]
