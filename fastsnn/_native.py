"""Where the compiled module fastsnn._cpu is, and if it is not there, why not."""

from functools import cache
from importlib import import_module
from types import ModuleType

from torch import Tensor

from fastsnn import _env
from fastsnn.errors import BackendUnavailable

REMEDY = (
    "build it with `pip install .` in a checkout of fastsnn, which needs a C++17 compiler and "
    "FASTSNN_NATIVE_MODULE unset or 1, or choose another backend"
)


@cache
def _find() -> tuple[ModuleType | None, str | None]:
    """(module, None), or (None, the reason). Once a process: a module that appears later needs a restart."""
    try:
        module = import_module("fastsnn._cpu")
    except ImportError as error:
        return None, f"the native module does not load ({error}); {REMEDY}"
    if _env.CPU_ISA is not None:
        have = module.instruction_sets()
        if _env.CPU_ISA not in have:
            raise BackendUnavailable(f"FASTSNN_CPU_ISA must be one of {', '.join(have)} here, got {_env.CPU_ISA!r}")
        module.select_instruction_set(_env.CPU_ISA)
    return module, None


def load() -> ModuleType:
    """The compiled module, imported on the first call. Raises BackendUnavailable with the reason when absent."""
    module, why = _find()
    if module is None:
        raise BackendUnavailable(why)
    return module


def reason() -> str | None:
    """Why the compiled module cannot be used, or None when it can."""
    return _find()[1]


def refuse(x: Tensor, *_: Tensor) -> str | None:
    """Why the native kernels do not take a call on this tensor, or None: they read the memory of the CPU."""
    return None if x.device.type == "cpu" else f"the tensor is on {x.device}"
