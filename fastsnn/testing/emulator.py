"""Runs CUDA kernels without a GPU: their text compiled by the C++ compiler, their threads in turn on a CPU.

install()                     from here on launches on tensors of the CPU are emulated
emulating(reverse=True)       inside, threads run in the reverse order: a result that changes is a race
emulating(change=function)    inside, kernels are compiled from changed text: what a planted fault does
"""

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

from fastsnn import _cuda, _env
from fastsnn.errors import BackendUnavailable

FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-Wall", "-Wextra")
# pragmas and options that only the other compiler knows, and functions that a kernel has no use for
QUIET = (
    *("-Werror", "-Wno-unknown-warning-option", "-Wno-unknown-pragmas", "-Wno-pass-failed"),
    *("-Wno-unused-function", "-Wno-unused-const-variable", "-Wno-maybe-uninitialized"),
)
SANITIZERS = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")

_lock = Lock()


@dataclass(frozen=True)
class Settings:
    """How kernels run: the order of a block's threads, and what is done to their text before."""

    reverse: bool = False
    change: Callable[[str], str] | None = None


_settings = Settings()


def reason() -> str | None:
    """Why kernels cannot be emulated here, or None."""
    return None if _compiler() else "no C++ compiler found: CUDA kernels are not emulated"


def install() -> None:
    """Lets launches on tensors of the CPU be emulated; where that is not possible nothing changes."""
    if reason() is None:
        _cuda.EMULATOR = launch


@contextmanager
def emulating(reverse: bool = False, change: Callable[[str], str] | None = None) -> Iterator[None]:
    """Other settings; a change of the text must not depend on anything but the text."""
    global _settings
    before, _settings = _settings, Settings(reverse, change)
    try:
        yield
    finally:
        _settings = before


def launch(kernel: _cuda.Kernel, grid: Sequence[int], call: bytes, shared: int) -> None:
    """Runs every thread of a launch. Raises RuntimeError for threads that wait for one another in vain."""
    text = kernel.text if _settings.change is None else _settings.change(kernel.text)
    with _lock:
        run = _runtime().emulator_launch
        run.restype = ctypes.c_char_p
        blocks = (ctypes.c_uint32 * 3)(*grid, *[1] * (3 - len(grid)))
        function = ctypes.cast(_compiled(text, kernel).emulated, ctypes.c_void_p)
        place = ctypes.create_string_buffer(call, len(call))
        size = ctypes.c_size_t(shared)
        wrong = run(function, place, blocks, ctypes.c_uint32(kernel.threads), size, int(_settings.reverse))
    if wrong is not None:
        raise RuntimeError(f"{kernel.name}: {wrong.decode()}")


@cache
def _runtime() -> ctypes.CDLL:
    text = (_cuda.folder() / "emulator" / "runtime.cpp").read_text()
    # kernels find its functions by name
    return ctypes.CDLL(str(_built(text)), mode=ctypes.RTLD_GLOBAL)


@cache
def _compiled(text: str, kernel: _cuda.Kernel) -> ctypes.CDLL:
    _runtime()
    call = f"*static_cast<const fastsnn::device::{kernel.call}*>(call)"
    entry = f'extern "C" void emulated(const void* call) {{ fastsnn::device::{kernel.name}({call}); }}\n'
    return ctypes.CDLL(str(_built(f'#include "emulator/device.h"\n{text}{entry}')))


def _built(text: str) -> Path:
    """The shared library of a text, compiled once a process."""
    compiler = _compiler()
    if compiler is None:
        raise BackendUnavailable(str(reason()))
    flags = [*FLAGS, *QUIET, *(SANITIZERS if _env.SANITIZE else ())]
    name = hashlib.sha256("\0".join([text, compiler, *flags]).encode()).hexdigest()[:16]
    library = Path(_folder().name, f"{name}.so")
    cpp = library.with_suffix(".cpp")
    if not library.is_file():
        cpp.write_text(text)
        command = [compiler, *flags, f"-I{_cuda.folder()}", str(cpp), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{compiler} does not compile a kernel: {done.stderr[:4000]}")
    return library


@cache
def _folder() -> tempfile.TemporaryDirectory:
    """Where what is compiled lies; it removes itself when the process ends."""
    return tempfile.TemporaryDirectory(prefix="fastsnn-emulator-")


@cache
def _compiler() -> str | None:
    for name in (_env.CXX, "g++", "c++", "clang++"):
        if name and shutil.which(name):
            return name
    return None
