"""Compiles CUDA kernels of csrc for a GPU that need not be there: what tests hold their machine code to.

The compiler is NVRTC, which CuPy uses too, from the packages that PyTorch brings: neither CuPy nor a driver is needed.
"""

import ctypes
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastsnn._cuda import OPTIONS, Kernel
from fastsnn.errors import BackendUnavailable
from fastsnn.testing import compiled as triton_kernels

# what CuPy adds to options
ADDED = ("--device-as-default-execution-space", "-ftz=true")
# the assembler's words about registers and memory
TELLING = ("-Xptxas", "-v")


@dataclass(frozen=True)
class Figures:
    """What the compiler says of a kernel.

    registers  a thread
    stack      bytes of local memory a thread
    spills     bytes that a thread writes to it and reads from it, because registers did not suffice; each place once
    shared     bytes of shared memory a block, beside what a launch asks for
    warnings   of compiler and assembler, a line each
    cubin      bytes of machine code, with what describes it
    """

    registers: int
    stack: int
    spills: int
    shared: int
    warnings: tuple[str, ...]
    cubin: int


@dataclass(frozen=True)
class Promise:
    """What a kernel is held to: no warning, and no more than this.

    most_registers  a thread
    most_stack      bytes a thread;  most_spills  likewise
    most_shared     bytes a block, beside what a launch asks for
    """

    most_registers: int
    most_stack: int = 0
    most_spills: int = 0
    most_shared: int = 0


def fits(figures: Figures, promise: Promise) -> list[str]:
    """The promises that the figures break, in words; empty where all are kept."""
    f, p = figures, promise
    broken = [f"warning: {warning}" for warning in f.warnings]
    for what, counted, most in (
        ("registers", f.registers, p.most_registers),
        ("bytes of stack", f.stack, p.most_stack),
        ("bytes of spills", f.spills, p.most_spills),
        ("bytes of shared memory", f.shared, p.most_shared),
    ):
        if counted > most:
            broken.append(f"{counted} {what}, more than {most}")
    return broken


def reason() -> str | None:
    """Why kernels cannot be compiled here, or None."""
    found = _library()
    return found if isinstance(found, str) else None


def version() -> str:
    """The compiler's, as "13.0". Raises BackendUnavailable where there is none."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_nvrtc().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return f"{major.value}.{minor.value}"


def architectures() -> list[int]:
    """GPUs that the compiler knows, each as 10 * major + minor, the newest last. Raises BackendUnavailable."""
    count = ctypes.c_int()
    _check(_nvrtc().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    numbers = (ctypes.c_int * count.value)()
    _check(_nvrtc().nvrtcGetSupportedArchs(numbers))
    return sorted(numbers)


def compiled(kernel: Kernel, architecture: int) -> Figures:
    """A kernel compiled for a GPU as at run time. Of several threads that compile, one works at a time.

    architecture  10 * major + minor of the GPU

    Raises RuntimeError with the compiler's words for a wrong text, BackendUnavailable where there is no compiler.
    """
    return compiled_text(kernel.text, kernel.name, architecture)


def compiled_text(text: str, name: str, architecture: int) -> Figures:
    """As `compiled`: the one kernel `name` in a text that includes nothing."""
    nvrtc, program = _nvrtc(), ctypes.c_void_p()
    options = [o.encode() for o in (*OPTIONS, *ADDED, f"-arch=sm_{architecture}", *TELLING)]
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), f"{name}.cu".encode(), 0, None, None))
    try:
        failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        size = ctypes.c_size_t()
        _check(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        log = ctypes.create_string_buffer(size.value)
        _check(nvrtc.nvrtcGetProgramLog(program, log))
        words = log.value.decode(errors="replace")
        if failed:
            raise RuntimeError(f"{name} does not compile for sm_{architecture}: {words.strip() or _error(failed)}")
        _check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)))
    finally:
        _check(nvrtc.nvrtcDestroyProgram(ctypes.byref(program)))
    return read(words, name, size.value)


def read(log: str, name: str, cubin: int) -> Figures:
    """What a compiler's log says of a kernel. Raises RuntimeError where it says nothing of its registers."""
    own = log.partition(f"Compiling entry function '{name}'")[2]
    used = re.search(r"Used (\d+) registers.*", own)
    if used is None:
        raise RuntimeError(f"the compiler does not say what registers {name} uses: {log.strip()}")

    def numbers(of: str, text: str = own) -> list[int]:
        return [int(n) for n in re.findall(rf"(\d+) bytes {of}", text)]

    return Figures(
        registers=int(used[1]),
        # of the kernel and all that it calls, where that is said
        stack=max(numbers("stack frame") + numbers("cumulative stack size")),
        spills=sum(numbers("spill stores") + numbers("spill loads")),
        shared=sum(numbers("smem", used[0])),
        warnings=tuple(line.strip() for line in log.splitlines() if re.search(r"\bwarning( #\S+)? *:", line)),
        cubin=cubin,
    )


def blocks(figures: Figures, architecture: int, threads: int, shared: int = 0) -> int | None:
    """How many blocks a multiprocessor holds at once; 0: it cannot start; None where the GPU's memory is not known.

    threads  a block, a multiple of 32
    shared   bytes that a launch asks for, beside the kernel's own
    """
    if architecture not in triton_kernels.SHARED:
        return None
    return triton_kernels.ctas(architecture, figures.registers, figures.shared + shared, threads // 32)


def _nvrtc() -> ctypes.CDLL:
    found = _library()
    if isinstance(found, str):
        raise BackendUnavailable(f"kernels cannot be compiled: {found}")
    return found


@cache
def _library() -> ctypes.CDLL | str:
    """NVRTC, or why there is none."""
    spec = find_spec("nvidia")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    libraries = find(map(Path, places))
    if libraries is None:
        return "NVIDIA's run-time compiler is not among the Python packages: pip install nvidia-cuda-nvrtc"
    builtins, nvrtc = libraries
    try:
        # the compiler looks for the other one by its bare name, and finds what is loaded
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(nvrtc))
    except OSError as error:
        return f"NVIDIA's run-time compiler does not load: {error}"


def find(folders: Iterable[Path]) -> tuple[Path, Path] | None:
    """(what the compiler is built on, the compiler) of the newest version below folders, or None."""
    found = []
    for nvrtc in (path for folder in folders for path in folder.glob("*/lib/libnvrtc.so.*")):
        builtins = sorted(p for p in nvrtc.parent.glob("libnvrtc-builtins.so.*") if ".alt." not in p.name)
        if builtins and ".alt." not in nvrtc.name:
            found.append((int(re.sub(r".*\.so\.(\d+).*", r"\1", nvrtc.name)), builtins[-1], nvrtc))
    return max(found)[1:] if found else None


def _error(code: int) -> str:
    text = _nvrtc().nvrtcGetErrorString
    text.restype = ctypes.c_char_p
    return text(code).decode()


def _check(code: int) -> None:
    if code:
        raise RuntimeError(f"NVIDIA's run-time compiler: {_error(code)}")
