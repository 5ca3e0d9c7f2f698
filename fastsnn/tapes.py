"""Runs on a CPU that are recorded: the calls of kernels, with the memory that they read and write, made again at once.

Between two kernels a run goes through Python, which takes as long as a small layer. A run of one shape always makes the
same calls, so that after it was recorded only the image is new.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fastsnn import _native
from fastsnn.memory import bytes_an_image
from fastsnn.prepared import Prepared
from fastsnn.program import Program
from fastsnn.spikes import chunk_lengths
from fastsnn.still import still_with_currents

Results = dict[str, Tensor]
Run = Callable[[Tensor, int, bool, Results], list[Tensor]]
# batch, T, outputs at every step, threads
Key = tuple[int, int, bool, int]
# runs that a thread keeps of a network, and shapes that it remembers to have come
MOST, MOST_SHAPES = 8, 256
# of a run, and of all that a thread keeps of a network
MOST_BYTES, ALL_BYTES = 2**27, 2**28


class Watch(TorchDispatchMode):
    """Sees what torch computes while a run is recorded: nothing of it would be computed again, but in recorded calls.

    fresh   tensors that are new in each run

    refused  the first operator that computed something from one of them, or from what kernels write; empty where none
             did, and the kernels are all that there is
    memory   every tensor that was made, which the kernels' addresses belong to
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch.compile is never inside; to say so torch would import it, which takes a second and 100 MiB
        return False

    def __init__(self, fresh: Sequence[Tensor]) -> None:
        super().__init__()
        self.refused = ""
        self.memory: list[Tensor] = list(fresh)
        self._new = {_storage(tensor) for tensor in fresh}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        read = {_storage(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor) and _storage(t) not in read]
        # what recorded calls compute they compute again
        empty, again = "empty" in func._schema.name, _native.load().Tape.in_python()
        if empty or not again:
            self.memory += made
        if empty:
            # for kernels to write to, or recorded calls
            self._new |= {_storage(t) for t in made}
        elif not again and (
            func._schema.is_mutable or (self._new & read and (made or not isinstance(out, Tensor | list | tuple)))
        ):
            self.refused = self.refused or func._schema.name
        return out


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class Tape:
    """One recorded run.

    calls     of kernels, in order
    still     what they begin with, to be overwritten; contiguous
    outputs   what they leave; contiguous
    memory    that they use
    bytes     of that
    """

    def __init__(self, calls: Any, still: Results, outputs: list[Tensor], memory: list[Tensor]) -> None:
        self._calls, self._memory = calls, memory
        self.bytes = sum({_storage(t): t.untyped_storage().nbytes() for t in memory}.values())
        self._names, self._kinds = list(still), [(out.shape, out.dtype) for out in outputs]
        calls.bind([(t.data_ptr(), t.nbytes) for t in still.values()], [(t.data_ptr(), t.nbytes) for t in outputs])

    def __call__(self, still: Results) -> list[Tensor]:
        # operators of torch take longer than this where their code has left the caches
        inputs = [still[name].contiguous() for name in self._names]
        outputs = [torch.empty(shape, dtype=dtype) for shape, dtype in self._kinds]
        self._calls.run([t.data_ptr() for t in inputs], [t.data_ptr() for t in outputs])
        return outputs


class _Kept(threading.local):
    """What a thread keeps: runs by shape, shapes that have come, and why some of these cannot be recorded."""

    def __init__(self) -> None:
        self.tapes: OrderedDict[Key, Tape] = OrderedDict()
        self.seen: set[Key] = set()
        self.refused: dict[Key, str] = {}


class Tapes:
    """The recorded runs of one network on a CPU; each thread has its own.

    begin   images [B, C, *S] -> what does not change over time, by name
    run     (images, T, outputs at every step, that) -> outputs; of the images only the number matters
    size    T -> bytes that an image takes
    forget  called before and after a run is recorded: memory that runs hand on to one another is let go, because what
            is recorded belongs to it alone
    """

    @classmethod
    def of(cls, program: Program, prepared: Prepared, run: Run) -> "Tapes":
        """Of a program that is ready to run."""
        begin, size = partial(still_with_currents, program, prepared), partial(bytes_an_image, prepared)
        return cls(begin, run, size, prepared.forget)

    def __init__(
        self, begin: Callable[[Tensor], Results], run: Run, size: Callable[[int], int], forget: Callable[[], None]
    ) -> None:
        self._begin, self._run, self._size, self._forget = begin, run, size, forget
        self._kept = _Kept()

    @property
    def refused(self) -> list[str]:
        """What is in the way of recording shapes that came twice in this thread: operators of torch, or memory."""
        return list(self._kept.refused.values())

    def __len__(self) -> int:
        return len(self._kept.tapes)

    def __call__(self, x: Tensor, T: int, over_time: bool) -> list[Tensor]:
        """The outputs; a run is recorded when its shape comes the second time."""
        still, kept = self._begin(x), self._kept
        key = (len(x), T, over_time, torch.get_num_threads())
        if key in kept.tapes:
            kept.tapes.move_to_end(key)
            return kept.tapes[key](still)
        if key in kept.seen and key not in kept.refused:
            return self._record(key, x, still)
        # each chunk of steps has memory of its own
        if len(kept.seen) < MOST_SHAPES and len(x) * self._size(T) * len(chunk_lengths(T)) <= MOST_BYTES:
            kept.seen.add(key)
        return self._run(x, T, over_time, still)

    def _record(self, key: Key, x: Tensor, still: Results) -> list[Tensor]:
        _, T, over_time, _ = key
        self._forget()
        own = {name: value.clone(memory_format=torch.contiguous_format) for name, value in still.items()}
        calls, watch = _native.load().Tape(), Watch(list(own.values()))
        calls.start()
        try:
            with watch:
                outputs = self._run(x, T, over_time, dict(own))
        finally:
            calls.stop()
            self._forget()
        kept = self._kept
        apart = any(not out.is_contiguous() for out in outputs)
        if reason := watch.refused or ("an output that is not contiguous" if apart else ""):
            kept.refused[key] = reason
            return outputs
        tape = Tape(calls, own, outputs, watch.memory)
        if tape.bytes > ALL_BYTES:
            kept.refused[key] = f"{tape.bytes // 2**20} MiB of memory"
            return outputs
        kept.tapes[key] = tape
        while len(kept.tapes) > MOST or sum(tape.bytes for tape in kept.tapes.values()) > ALL_BYTES:
            kept.tapes.popitem(last=False)
        return [out.clone() for out in outputs]
