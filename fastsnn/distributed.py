"""Several processes as one: who takes part, what each takes of the images, and that all of them end where one fails.

Processes meet between stages of work only. What they exchange is whole numbers, which add up exactly, and the network
as bytes, so that results do not depend on how many processes there are.
"""

import json
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from fastsnn import _env
from fastsnn.accuracy import correct_over_time, fractions
from fastsnn.data import batches
from fastsnn.data.prepare import Images
from fastsnn.errors import ProcessError, SaidElsewhere
from fastsnn.network import SpikingNetwork
from fastsnn.saved import load, save
from fastsnn.spikes import steps

T = TypeVar("T")
CPU = torch.device("cpu")
# seconds that a thread which has nothing else to do is waited for
PATIENCE = 5.0


@dataclass(frozen=True)
class Group:
    """The processes of a run, seen by one of them. Methods are called by all of them, in the same order.

    rank, size              number of this process, and of how many
    local_rank, local_size  the same on this machine
    device                  where tensors are exchanged
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0

    def together(self, work: Callable[[], T]) -> T:
        """What `work` gives here, once it is done everywhere.

        Where it fails anywhere, the first process raises that error (ProcessError for that of another process), and
        the others raise SaidElsewhere.
        """
        if self.size == 1:
            return work()
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:
            failure = error
        said = self.gather(None if failure is None else str(failure) or type(failure).__name__)
        failed = next((rank for rank, text in enumerate(said) if text is not None), None)
        if failed is None:
            return result
        if self.first and failure is not None:
            raise failure
        text = f"process {failed} of {self.size}: {said[failed]}"
        raise ProcessError(text) if self.first else SaidElsewhere(text) from failure

    def gather(self, value: Any) -> list[Any]:
        """What all processes give, of what JSON has, in the order of their numbers."""
        content = json.dumps(value).encode()
        lengths = [length for (length,) in self._rows([len(content)], 1)]
        rows = self._rows(content, max(lengths))
        return [json.loads(bytes(row[:length])) for row, length in zip(rows, lengths, strict=True)]

    def _rows(self, numbers: Sequence[int], length: int) -> list[list[int]]:
        """What all processes give, up to `length` numbers of each."""
        rows = torch.zeros(self.size, length, dtype=torch.int64)
        rows[self.rank, : len(numbers)] = torch.tensor(list(numbers), dtype=torch.int64)
        # gloo says at once that another process ended, NCCL waits for it
        where = self.device if dist.get_backend() == "nccl" else CPU
        return self._meet(dist.all_reduce, rows.to(where)).tolist()

    def require_same(self, what: str, value: Callable[[], Any]) -> None:
        """Raises ValueError where another process has another value than the first."""
        if self.size == 1:
            return
        found = self.gather(self.together(value))

        def compare() -> None:
            for rank, other in enumerate(found):
                if other != found[0]:
                    raise ValueError(f"process {rank} of {self.size} has {what} {other}, process 0 has {found[0]}")

        self.together(compare)

    def sum(self, counts: Tensor) -> Tensor:
        """Of int64 counts of the same shape, on the CPU."""
        if self.size == 1:
            return counts
        return self._meet(dist.all_reduce, counts.to(self.device)).cpu()

    def first_of(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites tensors with those of the first process; where they are is where they are exchanged."""
        if self.size > 1:
            for tensor in tensors:
                tensor.copy_(self._meet(partial(dist.broadcast, src=0), tensor))

    def network(self, make: Callable[[], SpikingNetwork], device: torch.device) -> SpikingNetwork:
        """The network that the first process makes, the same to the last bit in all, on each one's device.

        Meanwhile the others wait, so that it is made with the threads of all processes of the machine.
        """
        if self.size == 1:
            return make()
        snn, content = self.together(lambda: self._made(make) if self.first else (None, b""))
        sent = torch.zeros(self.gather(len(content))[0], dtype=torch.uint8)
        if self.first:
            sent = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        sent = self._meet(partial(dist.broadcast, src=0), sent.to(self.device)).cpu()
        return self.together(lambda: _read(sent.numpy().tobytes(), device) if snn is None else snn)

    def _made(self, make: Callable[[], SpikingNetwork]) -> tuple[SpikingNetwork | None, bytes]:
        """The network, and its file's content."""
        threads = torch.get_num_threads()
        torch.set_num_threads(threads * self.local_size)
        try:
            snn = make()
        finally:
            torch.set_num_threads(threads)
        with TemporaryDirectory() as folder:
            return snn, save(snn, Path(folder, "network.safetensors")).read_bytes()

    def _meet(self, collective: Callable[[Tensor], Any], given: Tensor) -> Tensor:
        """A tensor after a collective, which changes another one in its place.

        gloo's threads let go of what they worked on when everybody else has gone on, and want the interpreter for it:
        where that ends meanwhile the process aborts, and where it waits for them it does so for ever. So each tensor is
        waited for.
        """
        used = given.clone(memory_format=torch.contiguous_format)
        try:
            collective(used)
            found, held, until = used.clone(), weakref.ref(used), time.monotonic() + PATIENCE
            del used
            while given.device.type == "cpu" and held() is not None and time.monotonic() < until:
                time.sleep(0)
            return found
        except RuntimeError as error:
            raise ProcessError(
                f"process {self.rank} of {self.size}: another process ended, which its own message may explain, or did "
                f"not answer for {_env.TIMEOUT} s (FASTSNN_TIMEOUT): {_line(error)}"
            ) from error


def launched() -> Group:
    """The processes that the environment variables of torchrun name. Raises ValueError where they make no sense."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    given = {name: getattr(_env, name) for name in names}
    if not all(text.isdecimal() for text in given.values()):
        raise ValueError(f"{', '.join(names)} should be whole numbers, as torchrun sets them, got {given}")
    rank, size, local_rank, local_size = map(int, given.values())
    if not (rank < size and local_rank < local_size <= size):
        raise ValueError(
            "RANK should be below WORLD_SIZE, and LOCAL_RANK below LOCAL_WORLD_SIZE, as torchrun sets them, "
            f"got {given}"
        )
    return Group(rank, size, local_rank, local_size)


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """The processes that torchrun started, connected; this one alone where it was started without.

    device   "cpu": they exchange through gloo; "cuda": counts and networks through NCCL

    Raises ProcessError where not all of them come, ValueError where the environment makes no sense.
    """
    group = launched()
    if group.size == 1:
        yield group
        return
    if not dist.is_available():
        raise ValueError(f"WORLD_SIZE={group.size} needs torch.distributed, which this build of PyTorch lacks")
    cuda = device == "cuda" and torch.cuda.is_available()
    # imported later, as by torch.compile, this module would keep the connection, and its threads, in its functions'
    # defaults
    import_module("torch.distributed.nn.functional")
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timedelta(seconds=_timeout()))
    except RuntimeError as error:
        raise ProcessError(
            f"process {group.rank} of {group.size}: not all processes came within {_env.TIMEOUT} s "
            f"(FASTSNN_TIMEOUT): {_line(error)}"
        ) from error
    try:
        where = torch.device("cuda", group.local_rank) if cuda else CPU
        yield Group(group.rank, group.size, group.local_rank, group.local_size, where)
    finally:
        dist.destroy_process_group()


def accuracy_over_time(
    snn: SpikingNetwork,
    images: Images,
    timesteps: int | None = None,
    batch_size: int = 100,
    progress: bool = True,
    output: int = 0,
) -> Tensor:
    """`snn.accuracy_over_time` of labelled images that processes share: float64 [T], the same in each of them.

    snn      the same network in each process: `fastsnn.load` of one file, for example
    images   pairs (image, label) with a length, the same in each process, which takes whole batches of them

    The processes are those of torch.distributed's default group; where there is none, this one takes all images.
    Raises ProcessError or SaidElsewhere where another process fails.
    """
    group = Group()
    if dist.is_available() and dist.is_initialized():
        device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
        group = Group(dist.get_rank(), dist.get_world_size(), device=device)
    return measured(group, snn, batches(images, batch_size, None, group.rank, group.size), timesteps, progress, output)


def measured(
    group: Group, snn: SpikingNetwork, share: Any, timesteps: int | None, progress: bool, output: int = 0
) -> Tensor:
    """Accuracy after every step over the shares of all processes, float64 [T]; a share may hold no batch."""
    length = snn.timesteps if timesteps is None else steps(timesteps)
    run = partial(snn.logits_over_time, timesteps=length)
    shown = progress and group.first
    correct, total = group.together(lambda: correct_over_time(run, share, length, snn.device, shown, output))
    *counts, images = group.sum(torch.cat([correct, torch.tensor([total])])).split([length, 1])
    return fractions(counts[0], int(images))


def _read(content: bytes, device: torch.device) -> SpikingNetwork:
    with TemporaryDirectory() as folder:
        path = Path(folder, "network.safetensors")
        path.write_bytes(content)
        return load(path, device)


def _timeout() -> float:
    try:
        seconds = float(_env.TIMEOUT)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"FASTSNN_TIMEOUT should be a number of seconds above 0, got {_env.TIMEOUT!r}")
    return seconds


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
