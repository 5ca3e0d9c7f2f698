"""How much of the memory's speed the kernels reach that do nothing but read, compare and write, on each backend.

python benchmarks/gpu/run.py --only elementwise
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from checks import WrongResult
from rows import RESULTS, Row, append
from torch import Generator, Tensor

from fastsnn import _env
from fastsnn._registry import load
from fastsnn.ops._by_backend import NEURONS
from fastsnn.ops.if_constant import if_constant
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.pack import counts, pack, unpack
from fastsnn.ops.pool import pool_or
from fastsnn.ops.readout import readout
from gpu.backends import able, forced
from gpu.ceilings import COPY, measured
from gpu.clock import Deadline, interleaved, turns

CASE, T = "gpu_elementwise", 16
WORD, CLASSES, FEATURES = 2, 10, 512
# of the words that are pooled; as many neurons are the fewest that are measured
IMAGE = (32, 32, 64)
# seconds that one kernel is measured for
BUDGET = 1.5
THETA = {torch.float32: 1.0, torch.int32: 2**24}


@dataclass(frozen=True)
class Kernel:
    """A kernel and how much it moves.

    inputs  (number of neurons, generator) -> what `call` takes
    call    runs it; the first of what it returns is compared with the reference
    bytes   read and written for a number of neurons
    share   of the largest number of neurons that is measured, for those that need much memory
    """

    inputs: Callable[[int, Generator], Any]
    call: Callable[[Any], Tensor]
    bytes: Callable[[int], int]
    share: int = 1


def words_only(inputs: tuple[Tensor, Tensor, Tensor], constant: bool) -> Tensor:
    """Words of currents [T, N], or [N] for all steps, as the engine asks for them: potentials are not kept.

    inputs  currents, threshold, initial potential
    """
    x, theta, start = inputs
    if _env.BACKEND in NEURONS:
        run = load(NEURONS[_env.BACKEND])
        return run(x, constant, start, theta, None, T, "soft", ">=", keep=False)[0]
    return if_constant(x, T, theta, start)[0] if constant else if_steps(x, theta, start)[0]


def _currents(dtype: torch.dtype, *steps: int) -> Callable[[int, Generator], tuple[Tensor, Tensor, Tensor]]:
    def make(n: int, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.randn(*steps, n, generator=g, device=g.device) * 0.3 + 0.1
        theta = torch.tensor(THETA[dtype], dtype=dtype, device=g.device)
        return x.mul_(THETA[dtype]).to(dtype), theta, (theta / 2).to(dtype)

    return make


def _words(n: int, g: Generator) -> Tensor:
    return torch.randint(-(2**15), 2**15, (n,), dtype=torch.int16, generator=g, device=g.device)


def _images(n: int, g: Generator) -> Tensor:
    return _words(n, g).reshape(-1, *IMAGE)


def _read(n: int, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    weight = torch.randint(-8, 9, (CLASSES, FEATURES), generator=g, device=g.device).float()
    words = _words(n, g).reshape(-1, FEATURES)
    return words, weight, torch.zeros(words.shape, dtype=torch.int32, device=g.device)


KERNELS = {
    "if_steps float32": Kernel(
        _currents(torch.float32, T), lambda x: words_only(x, False), lambda n: (4 * T + WORD) * n, 8
    ),
    "if_steps int32": Kernel(
        _currents(torch.int32, T), lambda x: words_only(x, False), lambda n: (4 * T + WORD) * n, 8
    ),
    "if_constant int32": Kernel(_currents(torch.int32), lambda x: words_only(x, True), lambda n: (4 + WORD) * n),
    "pack": Kernel(
        lambda n, g: torch.randint(0, 2, (T, n), dtype=torch.uint8, generator=g, device=g.device),
        pack, lambda n: (T + WORD) * n, 2,
    ),
    "unpack": Kernel(_words, lambda w: unpack(w, T), lambda n: (T + WORD) * n, 2),
    "counts": Kernel(_words, counts, lambda n: (4 + WORD) * n),
    "pool_or 2x2": Kernel(_images, lambda w: pool_or(w, T, [2, 2]), lambda n: WORD * n + WORD * n // 4),
    # the spikes so far are read and written as int32
    "readout": Kernel(
        _read, lambda x: readout(x[0], x[1], T, counts=x[2])[0],
        lambda n: (WORD + 4 + 4) * n + 4 * CLASSES * (FEATURES + n // FEATURES),
    ),
}  # fmt: skip


def on_backend(backend: str, kernel: Kernel, inputs: Any) -> Tensor:
    with forced(backend):
        return kernel.call(inputs)


def check(name: str, kernel: Kernel, backend: str, on: torch.device, n: int) -> None:
    """The kernel on n neurons gives what the reference gives on the CPU; raises WrongResult."""
    inputs = kernel.inputs(n, Generator(on).manual_seed(1))
    there = tuple(x.cpu() for x in inputs) if isinstance(inputs, tuple) else inputs.cpu()
    got, want = on_backend(backend, kernel, inputs).cpu(), on_backend("reference", kernel, there)
    if not torch.equal(got, want):
        wrong = int((got != want).sum())
        raise WrongResult(f"{name}, {backend}: {wrong} of {want.numel()} numbers are not the reference's")


def main(on: torch.device, deadline: Deadline, folder: Path = RESULTS, neurons: int = 2**26) -> Iterator[Row]:
    """Rows as they are measured, one a kernel and backend.

    neurons  of the kernel that needs the least memory for each

    A kernel that is wrong on one backend gets no row for it; WrongResult is raised once the others have theirs.
    """
    ceiling, backends, wrong = measured(on, folder, COPY), able(on), []
    for name, kernel in KERNELS.items():
        if not deadline.left:
            print(f"left out for want of time: {name}", flush=True)
            continue
        least, right = prod(IMAGE), []
        for backend in backends:
            try:
                check(name, kernel, backend, on, least)
                right.append(backend)
            except WrongResult as error:
                print(error, flush=True)
                wrong.append(str(error))
        if not right:
            continue
        n = max(neurons // kernel.share, least)
        sets = [kernel.inputs(n, Generator(on).manual_seed(i)) for i in range(2)]
        runs = {backend: turns(partial(on_backend, backend, kernel), sets) for backend in right}
        for backend, times in interleaved(runs, on, rounds=100, budget=BUDGET, ahead=True).items():
            rate = kernel.bytes(n) / times.median * 1e3
            row: Row = {
                "case": CASE,
                "operator": name,
                "backend": backend,
                "T": T,
                "neurons": n,
                "bytes": kernel.bytes(n),
                "ms": times.least,
                "median_ms": times.median,
                "rounds": times.rounds,
                "rate": rate,
                "share_of_copy": rate / ceiling if ceiling else None,
            }
            append(row, folder, on if on.type == "cuda" else None)
            yield row
        del sets, runs
    if wrong:
        raise WrongResult("; ".join(wrong))
