"""Times the backends of a GPU against each other, operator by operator: the order in which they are then tried.

Layers are not here: they depend on too much, and `SpikingNetwork.tune` measures them where they are.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import partial

import torch
from torch import Generator, Tensor

from fastsnn import _order
from fastsnn._registry import backends, load
from fastsnn.clock import clock
from fastsnn.errors import BackendUnavailable
from fastsnn.neurons import Adaptive
from fastsnn.ops._by_backend import NEURONS
from fastsnn.spikes import word_dtype
from fastsnn.testing.cases import UNIT

# an image of a pass, and how many there are
IMAGE, BATCHES = (32, 32, 64), (1, 256)
WINDOW = ([2, 2], [2, 2], [0, 0], [1, 1], False)
FEATURES, CLASSES = 512, 10
# steps of a first run of neurons that start again
PROBE = 4
ROUNDS = 20


@dataclass(frozen=True)
class Pass:
    """A call of an op that has no synapses.

    dtype  of currents, or of a readout's weights; None where there are only words
    """

    op: str
    T: int
    batch: int
    dtype: torch.dtype | None = None

    def __str__(self) -> str:
        return " ".join([self.op, *([] if self.dtype is None else [str(self.dtype)]), f"{self.size}, T = {self.T}"])

    @property
    def size(self) -> str:
        name = f"{FEATURES} -> {CLASSES}" if self.op == "readout" else "x".join(map(str, IMAGE))
        return f"{name}, batch {self.batch}"


def passes() -> list[Pass]:
    found = []
    for op in ("if_steps", "if_constant"):
        found += [Pass(op, 16, n, dtype) for dtype in (torch.float32, torch.int32, torch.int16) for n in BATCHES]
        found.append(Pass(op, 8, BATCHES[-1], torch.float32))
    pools = ("pool_or", "pool_gate", "pool_lateral", "pool_counts")
    found += [Pass("adaptive_steps", T, n, torch.float32) for T, n in (*((16, n) for n in BATCHES), (8, BATCHES[-1]))]
    for op in ("pack", "unpack", "counts", *pools, "readout", "emit", "restart"):
        dtype = torch.float32 if op == "readout" else None
        found += [Pass(op, T, n, dtype) for T, n in (*((16, n) for n in BATCHES), (8, BATCHES[-1]))]
    return found


def arguments(given: Pass, g: Generator) -> tuple:
    """What a backend's function takes, on the generator's device; of neurons currents, v and threshold.

    Numbers are whole multiples of a unit, so that sums are exact in any order.
    """
    T, shape, on, kind = given.T, (given.batch, *IMAGE), g.device, word_dtype(given.T)

    def integers(low: int, high: int, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.randint(low, high, size, dtype=dtype, generator=g, device=on)

    def words(*size: int) -> Tensor:
        limits = torch.iinfo(kind)
        return integers(limits.min, limits.max + 1, size, kind)

    if given.op == "adaptive_steps":
        currents = integers(-128, 384, (T, *shape), torch.int32).to(given.dtype)
        return currents, currents.new_zeros(()), None, T, list(astuple(Adaptive())), 0
    if given.dtype is not None and given.op != "readout":
        unit = UNIT[given.dtype]
        size = (T, *shape) if given.op == "if_steps" else shape
        currents = integers(-6, 8, size, torch.int32).mul(unit).to(given.dtype)
        return currents, *(torch.tensor(n * unit, device=on).to(given.dtype) for n in (4, 8))
    if given.op == "pack":
        return (integers(0, 2, (T, *shape), torch.uint8),)
    if given.op == "readout":
        weight = integers(-8, 9, (CLASSES, FEATURES), torch.int32).to(given.dtype)
        before = torch.zeros((given.batch, FEATURES), dtype=torch.int32, device=on)
        return words(given.batch, FEATURES), weight, None, before, T, 0, False
    if given.op in ("emit", "restart"):
        v, threshold = [integers(-2, 9, shape, torch.int32) for _ in range(PROBE)], torch.tensor(4, device=on).int()
        if given.op == "emit":
            return words(*shape), v[0], threshold, T, "random", 0
        return [words(*shape) for _ in v], v, threshold, threshold
    if given.op in ("unpack", "counts"):
        return (words(*shape), *([T] if given.op == "unpack" else []))
    counts = [integers(0, 4, shape, torch.int32)] if given.op in ("pool_gate", "pool_lateral") else []
    return words(*shape), *counts, T, *([[1]] if given.op == "pool_lateral" else []), *WINDOW


def called(given: Pass, backend: str, found: tuple) -> list[Tensor]:
    """What a backend gives; of neurons only the words, as the engine asks for them."""
    if given.op not in ("if_steps", "if_constant"):
        return _listed(load(backends(given.op)[backend].target)(*found))
    x, start, threshold = found
    constant = given.op == "if_constant"
    if backend in NEURONS:
        return [load(NEURONS[backend])(x, constant, start, threshold, None, given.T, "soft", ">=", keep=False)[0]]
    steps = (given.T,) if constant else ()
    return [load(backends(given.op)[backend].target)(x, start, threshold, None, *steps, "soft", ">=")[0]]


def able(device: torch.device) -> list[str]:
    """The backends that are to be compared. Raises BackendUnavailable, with reasons, where not all can run."""
    every = backends("pack")
    words = torch.empty(0, dtype=torch.uint8, device=device)
    reasons = {name: every[name].absent() or every[name].refuse(words) for name in _order.RIVALS}
    missing = [f"{name}: {why}" for name, why in reasons.items() if why is not None]
    if missing:
        raise BackendUnavailable(f"there is nothing to compare on {device}: {'; '.join(missing)}")
    return list(reasons)


@torch.inference_mode()
def contest(device: torch.device, rounds: int = ROUNDS) -> Iterator[tuple[Pass, dict[str, float]]]:
    """Every pass on every backend of a GPU, as it is measured: seconds by backend, which are kept for the registry.

    rounds  times of which the least counts

    Raises BackendUnavailable where there is nothing to compare, RuntimeError where the backends do not agree.
    """
    names = able(device)
    for given in passes():
        found = arguments(given, Generator(device).manual_seed(0))
        timer, repeats = clock(device, rounds)
        results, seconds = [], {}
        for name in names:
            run = partial(_first, given, name, found)
            taken = [timer(run) for _ in range(repeats)]
            results.append(taken[0][0])
            seconds[name] = min(time for _, time in taken)
        if any(not torch.equal(result, results[0]) for result in results):
            raise RuntimeError(f"{given}: {' and '.join(names)} do not give the same")
        # of several steps the registry is shown the first
        shown = found[0][0] if isinstance(found[0], list) else found[0]
        _order.remember(given.op, [shown], seconds)
        yield given, seconds


def _first(given: Pass, backend: str, found: tuple) -> Tensor:
    return called(given, backend, found)[0]


def _listed(result: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)
