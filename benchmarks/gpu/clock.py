"""How times are taken on a GPU: several callables in turn, in one process; on the CPU likewise, for tests."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import Any

import torch
from timing import Times
from torch import Tensor

# of the GPU's clock, about a millisecond: long enough for the launches of a call to be queued behind
AHEAD = 2_000_000
# inputs that take turns have this many bytes together, several times what a GPU's cache holds
ROTATED = 256 * 2**20

# takes the number of the round, by which it chooses among its inputs
Run = Callable[[int], Any]


class Slow(Exception):
    """Something took longer than it was given."""


class Deadline:
    """Seconds that are left to a process, counted from its start."""

    def __init__(self, seconds: float) -> None:
        self.until = perf_counter() + seconds

    @property
    def left(self) -> float:
        return max(self.until - perf_counter(), 0.0)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Slow inside where that takes longer. Only in the main thread."""

    def stop(*_: object) -> None:
        raise Slow(f"took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    # 0 would mean no limit
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def once(run: Run, i: int, device: torch.device, ahead: bool = False) -> float:
    """Milliseconds of one call.

    ahead   the GPU waits until the call is queued, so that only its own work counts; otherwise the time from the call
            on an idle GPU to the end of its work
    """
    if device.type != "cuda":
        start = perf_counter()
        run(i)
        return 1e3 * (perf_counter() - start)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    if ahead and hasattr(torch.cuda, "_sleep"):
        torch.cuda._sleep(AHEAD)
    begin.record()
    run(i)
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


@torch.inference_mode()
def interleaved(
    runs: Mapping[str, Run],
    device: torch.device,
    rounds: int = 50,
    least: int = 5,
    budget: float = 1.0,
    warm: int = 2,
    ahead: bool = False,
) -> dict[str, Times]:
    """Times of each callable, taken in turn, so that clocks and heat meet all of them.

    rounds  most rounds;  least  rounds that are taken whatever they cost
    budget  seconds after which no further round is begun
    warm    calls of each before, which are not counted
    ahead   as in `once`
    """
    if not runs or not 1 <= least <= rounds:
        raise ValueError(f"interleaved needs callables, and 1 <= least <= rounds; got {len(runs)}, {least}, {rounds}")
    for run in runs.values():
        for i in range(warm):
            run(i)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    deadline, done = Deadline(budget), 0
    while done < least or (done < rounds and deadline.left):
        for name, run in runs.items():
            taken[name].append(once(run, done, device, ahead))
        done += 1
    return {name: Times(min(ms), median(ms), done) for name, ms in taken.items()}


def turns(call: Callable[[Any], Any], inputs: Sequence[Any]) -> Run:
    """A call on one input after the other."""
    return lambda i: call(inputs[i % len(inputs)])


def copies(x: Tensor, most: int = 8) -> list[Tensor]:
    """x and copies of it in other memory, as many as it takes to fill ROTATED bytes; at least 2."""
    n = min(max(-(-ROTATED // max(x.numel() * x.element_size(), 1)), 2), most) if x.is_cuda else 2
    return [x, *(x.clone() for _ in range(n - 1))]


def captured(call: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """The call as one CUDA graph: what is given is copied to where the graph reads it. On the CPU the call itself."""
    if not x.is_cuda:
        return call
    static = x.clone()
    side = torch.cuda.Stream(x.device)
    side.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(side):
        for _ in range(3):
            call(static)
    torch.cuda.current_stream(x.device).wait_stream(side)
    torch.cuda.synchronize(x.device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call(static)

    def replay(given: Tensor) -> Tensor:
        static.copy_(given)
        graph.replay()
        return out

    return replay


def device_of(name: str | None) -> torch.device:
    """A device by name, the first GPU by default; raises SystemExit with one line where that is not there."""
    if name is None and not torch.cuda.is_available():
        raise SystemExit(f"gpu: torch {torch.__version__} sees no NVIDIA GPU here: nothing to measure")
    return torch.device(name or "cuda:0")
