"""What the device does at best: memory copied, and matrices multiplied by torch's own libraries.

python benchmarks/gpu/run.py --only ceilings
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from rows import RESULTS, Row, append, device, latest

from gpu.clock import Deadline, Run, interleaved, turns

CASE = "gpu_ceiling"
COPY, BF16, FP16, INT8 = "copy", "matmul bfloat16", "matmul float16", "matmul int8"


def copied(on: torch.device, size: int = 2**30) -> tuple[Run, int]:
    """(a copy of `size` bytes within the device's memory, bytes read and written)."""
    pairs = [torch.empty(2, size, dtype=torch.uint8, device=on).fill_(i) for i in range(2)]
    return turns(lambda pair: pair[1].copy_(pair[0]), pairs), 2 * size


def product(on: torch.device, dtype: torch.dtype, size: int = 8192) -> tuple[Run, int]:
    """(a product of two square matrices, multiplications and additions in it)."""
    generator = torch.Generator(on).manual_seed(0)
    shape = (size, size)
    if dtype == torch.int8:
        a, b = (torch.randint(-127, 128, shape, dtype=dtype, device=on, generator=generator) for _ in range(2))
        # cuBLAS takes int8 only with the second matrix stored by columns
        return (lambda _: torch._int_mm(a, b.t())), 2 * size**3
    a, b = (torch.randn(shape, device=on, generator=generator).to(dtype) for _ in range(2))
    return (lambda _: torch.matmul(a, b)), 2 * size**3


def main(on: torch.device, deadline: Deadline, folder: Path = RESULTS, scale: int = 1) -> Iterator[Row]:
    """Rows as they are measured. `scale` makes the work that many times smaller, for tests."""
    kinds = ((BF16, torch.bfloat16), (FP16, torch.float16), (INT8, torch.int8))
    cases = {COPY: lambda: copied(on, 2**30 // scale)}
    cases |= {name: lambda dtype=dtype: product(on, dtype, max(8192 // scale, 32)) for name, dtype in kinds}
    for name, make in cases.items():
        if not deadline.left:
            print(f"left out for want of time: {name}", flush=True)
            continue
        try:
            run, amount = make()
            times = interleaved({name: run}, on, rounds=100, budget=1.5, ahead=True)[name]
        except RuntimeError as error:
            print(f"left out: {name}: {str(error).splitlines()[0]}", flush=True)
            continue
        row: Row = {
            "case": CASE,
            "operator": name,
            "amount": amount,
            "unit": "byte/s" if name == COPY else "op/s",
            "ms": times.least,
            "median_ms": times.median,
            "rounds": times.rounds,
            # of the median: a ceiling that is met once in fifty times is none
            "rate": amount / times.median * 1e3,
        }
        append(row, folder, on if on.type == "cuda" else None)
        yield row


def measured(on: torch.device, folder: Path, name: str) -> float | None:
    """A ceiling per second, of the newest row in the device's file; None where there is none."""
    path = folder / f"{device(on if on.type == 'cuda' else None)}.jsonl"
    rows = latest(path) if path.is_file() else []
    rates = [row["rate"] for row in rows if row["case"] == CASE and row["operator"] == name]
    return rates[-1] if rates else None
