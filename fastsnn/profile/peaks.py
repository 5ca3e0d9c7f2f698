"""What a machine does at best: bytes a second, and additions of synapses a second by the engine's own operators."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from fastsnn.clock import clock
from fastsnn.drive import Driver, driver
from fastsnn.neurons import IF
from fastsnn.ops._step import value_dtype
from fastsnn.profile.machine import memory_bytes
from fastsnn.profile.schema import Peaks
from fastsnn.program import ConvTerm, Layer, LinearTerm, NeuronLayer
from fastsnn.spikes import word_dtype

WEIGHTS = {
    name: getattr(torch, name) for name in ("int32", "int16", "int8", "float32", "float16", "bfloat16", "float64")
}
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# bytes that are copied, at least; times the last cache, so that it does not help; and the largest share of the memory
COPIED, CACHED, SHARE = 2**28, 4, 1 / 16
ROUNDS = 4
# seconds after which no further layer is tried
PATIENCE = 4.0
T = 16
# below what potentials of 16 bits may be
THRESHOLD = 2**13


@dataclass(frozen=True)
class Ideal:
    """A layer whose inputs all spike at every step: [inputs] to [outputs], or 3x3 convolutions of images of a size."""

    inputs: int
    outputs: int
    batch: int
    size: int = 0

    def __str__(self) -> str:
        window = f" 3x3 on {self.size}x{self.size}" if self.size else ""
        return f"{self.inputs} -> {self.outputs}{window}, batch {self.batch}"

    @property
    def additions(self) -> int:
        """Of one pass: spikes times the synapses that each has. Convolutions are not padded."""
        reads = self.inputs * (9 * (self.size - 2) ** 2 if self.size else 1)
        return T * self.batch * reads * self.outputs

    def shape(self, channels: int, border: int = 0) -> tuple[int, ...]:
        return (self.size - border, self.size - border, channels) if self.size else (channels,)


# rows of weights that stay in the first-level cache of a CPU, read by many outputs
ON_CPU = (Ideal(128, 1024, 256), Ideal(64, 256, 1024), Ideal(256, 512, 256))
# large enough for every multiprocessor of a GPU
ON_GPU = (Ideal(1024, 1024, 8192), Ideal(256, 256, 128, 18), Ideal(128, 128, 256, 34))


@torch.inference_mode()
def peaks(device: torch.device, precision: str) -> Peaks:
    """The best of several short measurements with the threads that PyTorch now has. Takes about two seconds on a CPU.

    precision  of a conversion, one of WEIGHTS

    Layers with data in a cache may move more bytes a second than this, and multiplications with numbers that are no
    spikes go at their own pace. Raises ValueError for another precision.
    """
    if precision not in WEIGHTS:
        raise ValueError(f"peaks: precision must be one of {', '.join(WEIGHTS)}, got {precision!r}")
    copied, bytes_a_second = _copying(device)
    best, label = max(_adding(device, WEIGHTS[precision]), key=lambda found: found[0])
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return {
        "bytes_a_second": bytes_a_second,
        "operations_a_second": best,
        "how": f"copying {copied / 2**20:.0f} MiB, read and written; additions of a layer of {precision} whose inputs "
        f"all spike at all {T} steps, {label}; best of several{threads}",
    }


def _copying(device: torch.device) -> tuple[int, float]:
    """(bytes of a tensor, bytes a second that copying it reads and writes)."""
    size = copied_bytes(device)
    source = torch.ones(size // 4, dtype=torch.float32, device=device)
    target = torch.ones_like(source)
    return size, 2 * size / _least(lambda: target.copy_(source), device)


def copied_bytes(device: torch.device) -> int:
    """Several times the last cache, as far as the memory allows."""
    if device.type == "cuda":
        has = torch.cuda.get_device_properties(device)
        return _bounded(getattr(has, "L2_cache_size", 0), torch.cuda.mem_get_info(device)[0])
    return _bounded(last_cache(), memory_bytes())


def _bounded(cache: int, memory: int | None) -> int:
    wanted = max(COPIED, CACHED * cache)
    return wanted if memory is None else min(wanted, int(memory * SHARE))


def last_cache(folder: Path = CACHES) -> int:
    """Bytes of the largest cache of a CPU; 0 where the system does not tell."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    sizes = [file.read_text().strip() for file in folder.glob("index*/size")]
    return max((int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=0)


def _adding(device: torch.device, weights: torch.dtype) -> Iterator[tuple[float, str]]:
    """(additions a second, the layer in words) of every layer and way to run it that is tried while there is time."""
    until = perf_counter() + PATIENCE
    for ideal in ON_GPU if device.type == "cuda" else ON_CPU:
        runner, run, words = prepared(ideal, device, weights)
        # which way is best depends on the CPU; a GPU's plan chooses by itself
        native = runner.backend(ideal.batch, T) == "native"
        for choice in runner.choices(ideal.batch, T) if native else (None,):
            if choice is not None:
                runner.choose(choice)
            seconds = _least(lambda: runner(run, words, T, None, False)[0], device)  # noqa: B023
            yield ideal.additions / seconds, f"{ideal} ({runner.label})"
            if perf_counter() > until:
                return


class _Run:
    """What drivers see of a run: no numbers, and new memory for each result, which torch reuses."""

    def __init__(self, batch: int, device: torch.device) -> None:
        self.batch, self.device = batch, device
        self.static: dict[str, Tensor] = {}
        self.lent: set[str] = set()
        self.steps, self.asleep = 0, False

    def narrow(self, name: str) -> Tensor:
        raise KeyError(name)

    def numbers(self, name: str, results: dict[str, Tensor], T: int) -> Tensor:
        raise KeyError(name)

    def words(self, layer: NeuronLayer, T: int) -> Tensor:
        return self.room((self.batch, *layer.shape), word_dtype(T))

    def room(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.device)

    def give_back(self, result: Tensor) -> None:
        raise KeyError("numbers")


def prepared(ideal: Ideal, device: torch.device, weights: torch.dtype) -> tuple[Driver, _Run, dict[str, Tensor]]:
    """The driver of a layer with its weights ready, a run for it, and the words that it reads."""
    values = value_dtype(weights)
    shape = ideal.shape(ideal.outputs, border=2)
    kernel = (3, 3) if ideal.size else ()
    size = (ideal.outputs, ideal.inputs, *kernel)
    g = torch.Generator().manual_seed(0)
    weight = torch.randint(-3, 4, size, generator=g).to(weights).to(device)
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    term = ConvTerm("source", weight, shape, ones, zeros, ones, 1) if kernel else LinearTerm("source", weight, shape)
    bias = torch.zeros(shape[-1], dtype=values, device=device)
    one = torch.ones((), device=device)
    layer = NeuronLayer("ideal", shape, (), [term], bias, one, one, IF())
    # weights have a mean of 0: no neuron comes this far, and one that does not fire takes as long as one that does
    layer.threshold = torch.full((), THRESHOLD, dtype=values, device=device)
    source = Layer("source", ideal.shape(ideal.inputs))
    source.spiking = True
    made = driver(layer, {"source": source, "ideal": layer}, {"source", "ideal"}, not values.is_floating_point)
    words = torch.full((ideal.batch, *source.shape), -1, dtype=word_dtype(T), device=device)
    return made, _Run(ideal.batch, device), {"source": words}


def _least(run: Callable[[], Tensor], device: torch.device) -> float:
    """The least time of several rounds, in seconds."""
    timer, repeats = clock(device, ROUNDS)
    return min(timer(run)[1] for _ in range(repeats))
