"""How long a layer takes: by the clock on the wall, or on a GPU without the time that launching takes."""

from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor

# a result, and the seconds that it took
Clock = Callable[[Callable[[], Tensor]], tuple[Tensor, float]]
# of a layer in one CUDA graph: it is to run much longer than the ticks of the GPU's clock
REPEATS = 10


def clock(device: torch.device, rounds: int) -> tuple[Clock, int]:
    """(the clock for a device, how often a run has to be repeated for `rounds` times)."""
    if device.type == "cuda":
        return lambda run: on_gpu(run, rounds, device), 1
    # a first run may compile
    return wall, rounds + 1


def wall(run: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = perf_counter()
    result = run()
    return result, perf_counter() - start


def on_gpu(run: Callable[[], Tensor], rounds: int, device: torch.device) -> tuple[Tensor, float]:
    """The least time of several rounds, of a graph: launches from Python take longer than small kernels run."""
    with torch.cuda.device(device):
        # may compile, which cannot be recorded
        result = run()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(REPEATS):
                run()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        graph.replay()
        times = []
        for _ in range(rounds):
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1e3 / REPEATS)
    return result, min(times)
