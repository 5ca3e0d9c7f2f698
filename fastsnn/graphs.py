"""Whole runs as CUDA graphs: recorded once for a shape, replayed with one launch, padded where a batch is smaller."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

# (images, T, outputs at every step) -> outputs [B, ...], or [T, B, ...]
Run = Callable[[Tensor, int, bool], list[Tensor]]
Kind = tuple
# graphs that a network keeps; each holds the memory of a run, and they share it
MOST = 8


class Graph:
    """One recorded run.

    batch   images that it takes
    """

    def __init__(self, run: Run, x: Tensor, T: int, over_time: bool, pool: Any) -> None:
        self.batch, self.over_time = len(x), over_time
        self.x = x.clone()
        # on a stream of its own: the first run compiles kernels and makes what others keep, which cannot be recorded
        side = torch.cuda.Stream(x.device)
        side.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(side):
            run(self.x, T, over_time)
        torch.cuda.current_stream(x.device).wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        # other threads may use the GPU meanwhile
        with torch.cuda.graph(self.graph, pool=pool, stream=side, capture_error_mode="thread_local"):
            self.outputs = run(self.x, T, over_time)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Outputs for up to `batch` images; what else is in the buffer is computed and left out."""
        n = len(x)
        self.x[:n].copy_(x)
        self.graph.replay()
        return [(out[:, :n] if self.over_time else out[:n]).clone() for out in self.outputs]


class Graphs:
    """The recorded runs of one network on one GPU; safe in several threads and on several streams.

    run     what is recorded
    record  what records it: `Graph`, or something like it
    """

    def __init__(self, run: Run, record: Callable[..., Graph] = Graph) -> None:
        self._run, self._record = run, record
        self._kept: OrderedDict[Kind, Graph] = OrderedDict()
        self._seen: set[Kind] = set()
        self._lock = Lock()
        self._pool: Any = None
        self._done: torch.cuda.Event | None = None

    def __call__(self, x: Tensor, T: int, over_time: bool) -> list[Tensor]:
        """What `run` gives, from a graph of this batch size or a larger one.

        A batch that is smaller than a recorded one, such as the last of a data set, is padded the first time that it
        comes, and recorded itself when it comes again, as long as there is room.
        """
        with self._lock:
            stream = self._wait(x)
            graph = self._find(x, T, over_time)
            outputs = graph(x)
            if stream is not None and self._done is not None:
                self._done.record(stream)
        return outputs

    def _wait(self, x: Tensor) -> torch.cuda.Stream | None:
        """Lets the current stream wait for the last replay, which another stream may have been given."""
        if not x.is_cuda:
            return None
        stream = torch.cuda.current_stream(x.device)
        if self._done is None:
            self._done, self._pool = torch.cuda.Event(), torch.cuda.graph_pool_handle()
        else:
            stream.wait_event(self._done)
        return stream

    def _find(self, x: Tensor, T: int, over_time: bool) -> Graph:
        kind: Kind = (tuple(x.shape[1:]), x.dtype, T, over_time)
        own = (len(x), *kind)
        if own in self._kept:
            self._kept.move_to_end(own)
            return self._kept[own]
        larger = [key for key in self._kept if key[1:] == kind and key[0] > len(x)]
        # where all places are taken, sizes that change all the time would only push one another out
        if larger and (own not in self._seen or len(self._kept) >= MOST):
            self._seen.add(own)
            return self._kept[min(larger)]
        while len(self._kept) >= MOST:
            self._kept.popitem(last=False)
        self._kept[own] = self._record(self._run, x, T, over_time, self._pool)
        return self._kept[own]
