"""Which instances of the CUDA kernels are compiled where there is no GPU, what each is held to, and the table of them.

    python tests/gpu/cuda_kernels.py --json figures.json     compile them all and write what was found
    python tests/gpu/cuda_kernels.py --write-docs            the table in docs/cuda_kernels.md

Types and sizes are such that every family, type and word is there, and the forms that need most registers.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from fastsnn._cuda import Kernel
from fastsnn.firing import MOST_PLANES
from fastsnn.ops import _events_cuda, _fixed_cuda, _neurons_cuda, _products_cuda
from fastsnn.ops.adaptive import cuda as adaptive
from fastsnn.ops.emit import cuda as emit
from fastsnn.ops.pack import cuda as pack
from fastsnn.ops.pool import cuda as pool
from fastsnn.ops.readout import cuda as readout
from fastsnn.ops.restart import cuda as restart
from fastsnn.testing import nvrtc
from fastsnn.testing.nvrtc import Promise

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cuda_kernels.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
# the oldest that kernels run on, and those that figures of occupancy are known for; the compiler's newest comes to them
ARCHITECTURES = (75, 80, 90)
COLUMNS = {
    "kernel": "name", "sm": "architecture", "registers": "registers", "stack": "stack", "shared KiB": "shared",
    "blocks per SM": "blocks",
}  # fmt: skip

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
I8, I16, I32, I64 = torch.int8, torch.int16, torch.int32, torch.int64
U8 = torch.uint8
STEPS = {U8: 8, I16: 16, I32: 32}
# bytes of the words of one graded neuron
WORDS = 4 * MOST_PLANES


@dataclass(frozen=True)
class Named:
    """A kernel that is compiled.

    promise  what it is held to
    shared   bytes of shared memory that a launch asks for, the most that one does
    least    the oldest architecture that has what it needs
    """

    kernel: Kernel
    promise: Promise
    shared: int = 0
    least: int = 0

    @property
    def name(self) -> str:
        return self.kernel.function


def elementwise(registers: int, *kernels: Kernel) -> list[Named]:
    """Kernels of one pass over memory, which have all they need in registers."""
    return [Named(kernel, Promise(most_registers=registers)) for kernel in kernels]


def neurons(values: torch.dtype, words: torch.dtype, n: int, constant: bool = False) -> Kernel:
    return _neurons_cuda.instance(values, words, n, constant)


def graded(values: torch.dtype, words: torch.dtype, constant: bool = False) -> Named:
    """Neurons whose words, one a plane, are on the stack: which comes next is not known when they are compiled."""
    kernel = _neurons_cuda.instance(values, words, 1, constant, True)
    return Named(kernel, Promise(most_registers=80, most_stack=WORDS + 16))


def reading(weight: torch.dtype, words: torch.dtype, over_time: bool, each: int = readout.MOST_EACH) -> Named:
    kernel = readout.instance(weight, words, over_time, each)
    return Named(kernel, Promise(most_registers=128), readout.ROWS * readout.DEPTH * weight.itemsize)


def layer(
    operand: torch.dtype,
    values: torch.dtype,
    sums: torch.dtype,
    words: torch.dtype,
    outputs: int,
    graded: bool = False,
) -> Named:
    """A layer with room for all steps of its words, whose warps hand sums over in shared memory.

    Two blocks are to share a multiprocessor; a few numbers of the loops around that over spikes go to the stack for it.
    Graded neurons have their words there, and the sums of one of them.
    """
    kernel = _events_cuda.instance(operand, values, sums, words, outputs, STEPS[words], graded)
    shared = _events_cuda.shared(outputs, STEPS[words], sums)
    stack = 128 + WORDS * outputs + STEPS[words] * sums.itemsize if graded else 64
    return Named(kernel, Promise(most_registers=128, most_stack=stack, most_spills=256), shared)


def products(
    operand: torch.dtype, values: torch.dtype, sums: torch.dtype, words: torch.dtype, graded: bool = False
) -> Named:
    """A layer on the tensor cores, for two blocks as well: 64 sums, and what is on its way to the next stage."""
    kernel = _products_cuda.instance(operand, values, sums, words, STEPS[words], graded)
    stack = 112 + WORDS + STEPS[words] * sums.itemsize if graded else 88
    promise = Promise(most_registers=128, most_stack=stack, most_spills=384)
    return Named(kernel, promise, _products_cuda.shared(operand, STEPS[words]), least=80)


KERNELS = [
    # three blocks are to share a multiprocessor
    *elementwise(
        80,
        neurons(F32, U8, 4), neurons(F32, I32, 1), neurons(F64, I16, 2), neurons(I32, I32, 4),
    ),
    # two, because a thread has 8 neurons
    *elementwise(128, neurons(I16, I32, 8)),
    *elementwise(64, neurons(F32, I32, 4, True), neurons(I32, U8, 4, True)),
    graded(F64, I16, True), graded(I32, I32),
    *elementwise(
        80,
        *(pack.instance("pack", words, 16) for words in STEPS), pack.instance("pack", I32, 1),
        *(pack.instance("unpack", words, 16) for words in STEPS),
        *(pack.instance("counts", words, 16) for words in STEPS),
    ),
    *elementwise(
        80,
        *(pool.pool(words, words, 16 // words.itemsize, False) for words in STEPS),
        *(pool.pool(words, I32, 16 // words.itemsize, True) for words in STEPS),
        *(pool.gate(words, words) for words in STEPS),
        *(pool.counted(words, 16 // words.itemsize) for words in STEPS),
        *(pool.lateral(words, words) for words in (U8, I16)),
        *(pool.lateral_sums(words, 16 // words.itemsize) for words in STEPS),
    ),
    # the sums of all steps, and what an input adds to them
    *elementwise(128, pool.lateral(I32, I32)),
    *elementwise(
        80,
        adaptive.instance(F32, U8), adaptive.instance(F32, I16), adaptive.instance(F64, I32),
        emit.instance(F32, U8, 4, False), emit.instance(I32, I16, 4, False), emit.instance(F64, I32, 2, False),
        emit.instance(F32, I16, 4, True), emit.instance(I32, U8, 4, True), emit.instance(F64, I32, 1, True),
        restart.instance(F32, U8, 4), restart.instance(I32, I16, 4), restart.instance(F64, I32, 2),
    ),
    *elementwise(96, _fixed_cuda.KERNEL),
    reading(F32, U8, False, 1), reading(F32, I16, False), reading(F32, I32, True),
    reading(F64, I16, False), reading(F64, I32, True),
    layer(F32, F32, F32, I16, 4), layer(F64, F64, F64, I32, 1),
    layer(F16, F32, F32, I16, 4), layer(BF16, F32, F32, U8, 4),
    layer(I8, I32, I32, I16, 4), layer(I8, I32, I64, I16, 2), layer(I16, I16, I32, I32, 2),
    layer(I32, I32, I64, U8, 2),
    products(I8, I32, I32, U8), products(I8, I16, I32, I16), products(I8, I32, I32, I32),
    products(F16, F32, F32, I16), products(BF16, F32, F32, I32),
    layer(F32, F32, F32, I16, 4, True), layer(I8, I32, I64, I16, 2, True),
    products(I8, I16, I32, I32, True), products(F16, F32, F32, I16, True),
]  # fmt: skip


def architectures() -> list[int]:
    """Those that kernels are compiled for here."""
    known = nvrtc.architectures()
    return sorted(set(known) & {*ARCHITECTURES, known[-1]})


def measure() -> dict:
    """All kernels compiled: {"absent": why they cannot be} or {"nvrtc": version, "rows": [...]}.

    A row is a kernel on an architecture, with its figures or its error.
    """
    if why := nvrtc.reason():
        return {"absent": why}
    every = [(named, architecture) for named in KERNELS for architecture in architectures()]
    wanted = [(named, architecture) for named, architecture in every if architecture >= named.least]
    # the compiler does one program at a time in a process; forked ones would share what it keeps
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), get_context("spawn")) as workers:
        return {"nvrtc": nvrtc.version(), "rows": list(workers.map(compile_one, *zip(*wanted, strict=True)))}


def compile_one(named: Named, architecture: int) -> dict:
    row = {"name": named.name, "architecture": architecture}
    try:
        figures = nvrtc.compiled(named.kernel, architecture)
    except RuntimeError as error:
        # the other kernels are still worth knowing of, and this one's row says what happened
        return row | {"error": str(error)}
    blocks = nvrtc.blocks(figures, architecture, named.kernel.threads, named.shared)
    return row | {"figures": asdict(figures), "blocks": blocks, "shared": figures.shared + named.shared}


def compiled_by(found: dict) -> str:
    return f"Compiled by NVRTC {found['nvrtc']}."


def table(found: dict) -> str:
    """What `measure` found, as the table in the documentation."""
    lines = [compiled_by(found), "", "| " + " | ".join(COLUMNS) + " |", "| --- " * len(COLUMNS) + "|"]
    for row in found["rows"]:
        cells = row.get("figures", {}) | row
        if "shared" in cells:
            cells["shared"] = f"{cells['shared'] / 1024:.3g}"
        cells["name"] = f"`{cells['name']}`"
        shown = ["-" if cells.get(key) is None else str(cells[key]) for key in COLUMNS.values()]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write what was found to this file")
    parser.add_argument("--write-docs", action="store_true", help=f"replace the table in {DOCS.name}")
    given = parser.parse_args()
    found = measure()
    if "absent" in found:
        sys.exit(found["absent"])
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    if given.write_docs:
        before, rest = DOCS.read_text().split(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
