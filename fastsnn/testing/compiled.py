"""Compiles Triton's kernels for a GPU that need not be there, and reads their machine code: what tests hold them to."""

import inspect
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastsnn import _env, _triton
from fastsnn.errors import BackendUnavailable

# what one SM has: bytes of shared memory, and the most of them that one CTA (block of threads) may ask for
SHARED = {80: (164 << 10, 163 << 10), 90: (228 << 10, 227 << 10)}
# beside what a CTA asks for
RESERVED_SHARED = 1 << 10
SM_PARTS, PART_REGISTERS, SM_WARPS, SM_CTAS = 4, 16384, 64, 32

TENSOR = ("HGMMA", "IGMMA", "QGMMA", "HMMA", "IMMA", "DMMA")


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel, which was compiled and not run.

    name        the kernel's
    grid        how many CTAs, one number a dimension
    kernel      what Triton compiled
    constants   the kernel's compile-time arguments
    capability  of the GPU it is for, 10 * major + minor
    """

    name: str
    grid: tuple[int, ...]
    kernel: Any
    constants: dict[str, Any]
    capability: int

    @property
    def code(self) -> str:
        """Equal where two launches share one compilation."""
        return self.kernel.hash


@dataclass(frozen=True)
class Figures:
    """What a kernel's machine code says of it.

    registers            a thread
    shared, local        bytes of shared memory a CTA, of local memory a thread
    spills               instructions that read or write local memory
    warps                a CTA
    ctas_per_sm          how many CTAs registers, shared memory and warps let an SM hold at once; 0: it cannot start
    instruction          the tensor cores' instruction, one of TENSOR; several joined by "+"; "" where there is none
    serialized           the assembler made asynchronous tensor instructions wait for each other
    a_from_registers     every asynchronous tensor instruction takes its first operand from registers; None without any
    fused_multiply_adds  in floating point
    loop_instructions    of the innermost loop with a tensor instruction; None without one
    loop_stores          of that loop, those to shared memory
    wide_loads, loads    from global memory: those of 16 bytes a thread, and all
    wide_stores, stores  to global memory, likewise
    """

    registers: int
    shared: int
    local: int
    spills: int
    warps: int
    ctas_per_sm: int
    instruction: str
    serialized: bool
    a_from_registers: bool | None
    fused_multiply_adds: int
    loop_instructions: int | None
    loop_stores: int | None
    wide_loads: int
    loads: int
    wide_stores: int
    stores: int


@dataclass(frozen=True)
class Promise:
    """What a kernel is held to. Unless said otherwise: no local memory, no waiting, no fused multiply-add.

    instruction        the tensor cores' instruction; "" for none of them
    least_ctas         on an SM at once
    most_registers     a thread
    most_shared        bytes a CTA
    most_loop          instructions in the innermost loop with a tensor instruction; there has to be one
    most_loop_stores   of that loop, to shared memory
    least_wide_loads   from global memory, of 16 bytes a thread; least_wide_stores likewise
    a_from_registers   every asynchronous tensor instruction takes its first operand from registers, and there are some
    local, serialized, fused: may use local memory, wait for tensor instructions, fuse products and sums
    """

    instruction: str | None = None
    least_ctas: int = 1
    most_registers: int | None = None
    most_shared: int | None = None
    most_loop: int | None = None
    most_loop_stores: int | None = None
    least_wide_loads: int = 0
    least_wide_stores: int = 0
    a_from_registers: bool = False
    local: bool = False
    serialized: bool = False
    fused: bool = False


def fits(figures: Figures, promise: Promise) -> list[str]:
    """The promises that the figures break, in words; empty where all are kept."""
    f, p = figures, promise
    broken = []
    if p.instruction is not None and f.instruction != p.instruction:
        broken.append(f"tensor instruction {f.instruction or 'none'}, not {p.instruction or 'none'}")
    for what, count, least in (
        ("CTAs on an SM", f.ctas_per_sm, p.least_ctas),
        (f"16-byte loads of {f.loads}", f.wide_loads, p.least_wide_loads),
        (f"16-byte stores of {f.stores}", f.wide_stores, p.least_wide_stores),
    ):
        if count < least:
            broken.append(f"{count} {what}, fewer than {least}")
    for what, counted, most in (
        ("registers", f.registers, p.most_registers),
        ("bytes of shared memory", f.shared, p.most_shared),
        ("instructions in the loop", f.loop_instructions, p.most_loop),
        ("stores to shared memory in the loop", f.loop_stores, p.most_loop_stores),
    ):
        if most is not None and (counted is None or counted > most):
            broken.append(f"{counted if counted is not None else 'uncounted'} {what}, more than {most}")
    if p.a_from_registers and not f.a_from_registers:
        broken.append("the first operand of tensor instructions is not from registers")
    if (f.local or f.spills) and not p.local:
        broken.append(f"{f.local} bytes of local memory, {f.spills} instructions on it")
    if f.serialized and not p.serialized:
        broken.append("asynchronous tensor instructions wait for each other")
    if f.fused_multiply_adds and not p.fused:
        broken.append(f"{f.fused_multiply_adds} fused multiply-adds")
    return broken


class _Absent:
    """Stands in for Triton's driver of a GPU: knows what to compile for, and can do nothing else."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def get_current_target(self) -> Any:
        return self._target

    def get_current_device(self) -> int:
        # Triton keeps compiled kernels by this number: no GPU's, and one for each capability
        return -self._target.arch

    def get_current_stream(self, device: int | None = None) -> int:
        return 0


@contextmanager
def compiling_for(capability: int) -> Iterator[list[Launch]]:
    """Inside, `kernel[grid](...)` compiles what that launch on a GPU would, and launches nothing; yields the launches.

    capability  10 * major + minor of the GPU, 80 or 90

    Not while other threads launch. Tensors are on the CPU, and what kernels would write stays as it is.
    Raises BackendUnavailable where Triton is absent, too old or interprets kernels.
    """
    if why := reason() if capability in SHARED else f"capability must be one of {tuple(SHARED)}, got {capability}":
        raise BackendUnavailable(f"kernels cannot be compiled: {why}")
    from triton.backends.compiler import GPUTarget
    from triton.runtime.driver import driver
    from triton.runtime.jit import JITFunction

    launches: list[Launch] = []
    run, before = JITFunction.run, dict(vars(driver))

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        kernel = run(self, *args, grid=grid, warmup=True, **kwargs)
        own = {name: value for name, value in kwargs.items() if name in self.arg_names}
        bound = inspect.signature(self.fn).bind(*args, **own)
        bound.apply_defaults()
        constants = {p.name: bound.arguments[p.name] for p in self.params if p.is_constexpr}
        grid = grid(bound.arguments) if callable(grid) else grid
        launches.append(Launch(self.__name__, tuple(grid), kernel, constants, capability))
        return kernel

    driver.set_active(_Absent(GPUTarget("cuda", capability, 32)))
    JITFunction.run = compile_only
    try:
        yield launches
    finally:
        JITFunction.run = run
        vars(driver).update(before)


def reason() -> str | None:
    """Why kernels cannot be compiled in this process, or None; whether there is a GPU does not matter."""
    if why := _triton.unfit():
        return why
    from triton.runtime.jit import JITFunction, jit

    # Triton's switch may have been set after fastsnn read it
    if _env.TRITON_INTERPRET or not isinstance(jit(reason), JITFunction):
        return "kernels are interpreted in this process: unset TRITON_INTERPRET"
    return None


def figures(launch: Launch) -> Figures:
    """Disassembles a launch's kernel. Raises BackendUnavailable where Triton's folder and PATH lack NVIDIA's tools."""
    kernel, metadata = launch.kernel, launch.kernel.metadata
    instructions, loop = _instructions(_tool("nvdisasm", kernel.asm["cubin"], "-c", "-ndf"))
    names = list(map(_opcode, instructions))
    of = [name[0] for name in names]
    loads = ["128" in name for name in names if name[0] in ("LDG", "LDGSTS")]
    stores = ["128" in name for name in names if name[0] == "STG"]
    gmma = [i for i, name in zip(instructions, of, strict=True) if "GMMA" in name]
    usage = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", _tool("cuobjdump", kernel.asm["cubin"], "-res-usage")))
    registers = int(usage["REG"])
    return Figures(
        registers=registers,
        shared=metadata.shared,
        local=int(usage["STACK"]) + int(usage["LOCAL"]),
        spills=of.count("LDL") + of.count("STL"),
        warps=metadata.num_warps,
        ctas_per_sm=ctas(launch.capability, registers, metadata.shared, metadata.num_warps),
        instruction="+".join(name for name in TENSOR if name in of),
        serialized=bool(gmma) and _serialized(kernel.asm["ptx"], metadata.enable_fp_fusion),
        a_from_registers=all(re.search(r"MMA\S* \w+, R\w+, gdesc", i) for i in gmma) if gmma else None,
        fused_multiply_adds=of.count("FFMA") + of.count("DFMA"),
        loop_instructions=None if loop is None else len(loop),
        loop_stores=None if loop is None else sum(_opcode(i)[0] in ("STS", "STSM") for i in loop),
        wide_loads=sum(loads),
        loads=len(loads),
        wide_stores=sum(stores),
        stores=len(stores),
    )


def ctas(capability: int, registers: int, shared: int, warps: int) -> int:
    """How many CTAs an SM holds at once: `registers` a thread, `shared` bytes and `warps` a CTA; 0 if not even one."""
    whole, most = SHARED[capability]
    if shared > most:
        return 0
    # registers are given out to a warp in blocks of 8 a thread, from its part of the SM
    by_registers = SM_PARTS * (PART_REGISTERS // (32 * -(-registers // 8) * 8)) // warps
    return min(by_registers, whole // (shared + RESERVED_SHARED), SM_WARPS // warps, SM_CTAS)


def _instructions(listing: str) -> tuple[list[str], list[str] | None]:
    """(all instructions of a listing, those of its innermost loop with a tensor instruction, or None)."""
    found: list[str] = []
    labels, loops = {}, []
    for line in listing.splitlines():
        if label := re.match(r"\s*(\.L_\w+):", line):
            labels[label[1]] = len(found)
        elif text := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;", line):
            found.append(text[1])
            back = re.search(r"\bBRA\b.*?(\.L_\w+)", text[1])
            if back and back[1] in labels:
                loops.append(found[labels[back[1]] :])
    loops = [loop for loop in loops if any(_opcode(i)[0] in TENSOR for i in loop)]
    return found, min(loops, key=len, default=None)


def _opcode(instruction: str) -> list[str]:
    return re.sub(r"^@!?\w+\s+", "", instruction).split()[0].split(".")


def _serialized(ptx: str, fusion: bool) -> bool:
    # Triton throws the assembler's words away
    [arch] = re.findall(r"\.target (\w+)", ptx)
    fmad = f"--fmad={str(fusion).lower()}"
    words = _tool("ptxas", ptx.encode(), "-v", f"--gpu-name={arch}", fmad, "-o", os.devnull)
    return re.search(r"wgmma.*serialized", words) is not None


def _tool(name: str, data: bytes, *options: str) -> str:
    """What one of NVIDIA's tools says about a file of this content."""
    import triton

    own = os.path.join(os.path.dirname(triton.__file__), "backends", "nvidia", "bin")
    program = shutil.which(name, path=own) or shutil.which(name)
    if program is None:
        raise BackendUnavailable(f"{name} is neither in Triton's folder nor in PATH")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel"
        path.write_bytes(data)
        done = subprocess.run([program, *options, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip()}")
    return done.stdout + done.stderr
