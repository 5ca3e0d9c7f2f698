"""What all runs of a program share: the order of its layers, who reads whom, and how each neuron layer is driven."""

import threading
from bisect import bisect_left, insort

import torch
from torch import Tensor

from fastsnn._registry import pick
from fastsnn.currents import maps_of
from fastsnn.drive import Choice, Driver, driver
from fastsnn.head import Readout, readout_of
from fastsnn.ops import readout
from fastsnn.ops._by_backend import PLANS
from fastsnn.ops._route import Route
from fastsnn.ops._step import HALVES
from fastsnn.program import (
    FunctionLayer,
    InputLayer,
    Layer,
    NeuronLayer,
    PlaneLayer,
    Program,
    RouteLayer,
    ValueLayer,
)
from fastsnn.spikes import word_dtype
from fastsnn.totals import StepTotals

# what a thread may keep to write to again, in bytes
FREE_BYTES = 2**28
# channels that a position's words are padded to on a GPU, so that 16 bytes can be read at once
ALIGNED = 16


class _Free(threading.local):
    """Memory that the runs of one thread no longer need, as bytes [n], the least first."""

    def __init__(self) -> None:
        self.memory: list[Tensor] = []


class Prepared:
    """A program ready to run; holds nothing of a run, so that several threads may use one.

    choices    neuron layer -> the way it is driven, as measured; the others take their first
    operators  everything runs through registered operators, which torch.export can trace

    inner, timed, wake, waits, differential, longest_run
                       see `Program`: what it finds by looking at every layer, found once
    still              layers that neurons depend on and that do not change over time, in order
    maps               terms of sums that do not change over time, as the native module has them
    running            layers that run over time, in order
    head               layers that no neuron depends on
    sources, readers   of each running layer; how many running layers read a layer
    boundary           layers that run over time and that the head, or an output, reads
    routes             movement of words, and of numbers of each step, that the native module does
    readout            the head as one matrix, where it is one
    totals             layers that are numbers at every step
    summing            drivers for which torch computes a constant current
    narrow             an input that is held is read as 32-bit numbers, and as nothing else
    reusable           layers whose results are in memory from `room`, and nobody sees after their readers have run
    free               what each thread may write to again
    drawn              spikes are drawn at random, by the number of the image in its batch
    sizes              T -> bytes that an image takes, where that was asked
    """

    def __init__(self, program: Program, choices: dict[str, Choice] | None = None, operators: bool = False) -> None:
        self.free = _Free()
        self.layers, self.exact = program.layers, program.exponent is not None
        self.inner, self.timed = program.inner(), program.timed()
        self.wake, self.waits, self.differential = program.wake, program.waits, program.differential
        self.longest_run = program.longest_run
        self.drawn = any(layer.neuron.emission == "random" for layer in program.neurons.values())
        self.sizes: dict[int, int] = {}
        self.head = [(n, la) for n, la in self.layers.items() if n not in self.inner]
        read = {source for _, layer in self.head for source in layer.sources} | set(program.outputs)
        self.boundary = {name for name in read if name in self.inner and name in self.timed}
        double = any(la.bias.dtype == torch.float64 for la in self.layers.values() if hasattr(la, "bias"))
        self.real = torch.float64 if double else torch.float32
        device = next(program.buffers()).device
        backend = pick("readout", readout.op.BACKENDS, torch.empty(0, device=device)).name
        self.device = device
        self.native, self.padded = backend == "native" and not operators, backend in PLANS and not operators
        terms = [term for la in self.layers.values() if isinstance(la, NeuronLayer) for term in la.terms]
        self.half = any(term.weight.dtype in HALVES for term in terms)
        self._wide_readout: Tensor | None = None
        # sums of spikes over time are divided by another number than that of the steps; or torch.export is tracing, in
        # which no gradient gives a matrix
        odd = self.wake is not None or self.differential or operators
        self.readout: Readout | None = None if odd else readout_of(program, self.inner, self.real)

        # an input is there for whoever reads it
        held = {n for n, la in self.layers.items() if n in self.inner or isinstance(la, InputLayer)}
        self.still = [(n, la) for n, la in self.layers.items() if n in held and n not in self.timed]
        exactly = self.still if self.exact and self.native else []
        self.maps = {n: maps_of(la.terms, True, True) for n, la in exactly if isinstance(la, ValueLayer)}
        running = {n: la for n, la in self.layers.items() if n in self.inner and n in self.timed}
        self.sources = {name: tuple(layer.sources) for name, layer in running.items()}
        self.routes: dict[str, Route] = {}
        if self.native:
            self._route(running)
        self.running = list(running.items())
        self.readers = dict.fromkeys(self.layers, 0)
        for sources in self.sources.values():
            for source in set(sources):
                self.readers[source] += 1
        # what a route without copies reads is still read through its result
        views = [la for n, la in self.running if isinstance(la, RouteLayer | PlaneLayer) and n not in self.routes]
        seen = {source for layer in views for source in layer.sources}
        self.drivers: dict[str, Driver] = {}
        for name, layer in self.running:
            if isinstance(layer, NeuronLayer):
                self.drivers[name] = driver(layer, self.layers, self.timed, self.exact, operators)
                if choices and name in choices:
                    self.drivers[name].choose(choices[name])
        # those that wait emit other words than their driver gives
        filled = {n for n, made in self.drivers.items() if made.fills and not made.layer.neuron.waits}
        how = (self.layers, self.timed, self.exact, self.native)
        values = [(name, layer) for name, layer in self.running if isinstance(layer, ValueLayer)]
        self.totals = {name: StepTotals(la.terms, la.shape, la.bias, *how) for name, la in values}
        numbers = {n for n, made in self.totals.items() if made.fast} | {
            n for n, la in self.running if self.computes(la)
        }
        self.reusable = set() if operators else (filled | numbers | set(self.routes)) - self.boundary - seen
        self.summing = [made for made in self.drivers.values() if made.constant]
        first = program.input.name
        reading = [name for name, layer in self.layers.items() if first in layer.sources]
        only = all(name in self.drivers and self.drivers[name].narrow for name in reading)
        self.narrow = self.native and only and first not in program.outputs

    def computes(self, layer: Layer) -> bool:
        """Whether the native module has a part in a function of numbers of each step."""
        smooth = isinstance(layer, FunctionLayer) and not layer.stepwise
        return smooth and self.native and self.exact and not self.differential

    def words(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory for a layer's words.

        For the kernels of a GPU the channels of a position begin at multiples of 16, whatever their number.
        """
        if not self.padded:
            return self.room(shape, dtype)
        *outer, channels = shape
        return self.room((*outer, -(-channels // ALIGNED) * ALIGNED), dtype)[..., :channels]

    def room(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory, contiguous: the least that an earlier layer or run of this thread gave back and that does, or new."""
        free, size = self.free.memory, torch.Size(shape).numel() * dtype.itemsize
        at = bisect_left(free, size, key=Tensor.numel)
        if at < len(free):
            return free.pop(at)[:size].view(dtype).view(shape)
        if free:
            # else what small batches took would stay beside what large ones take
            free.pop()
        return torch.empty(shape, dtype=dtype, device=self.device)

    def with_padding(self, words: Tensor) -> Tensor:
        """Words [B, *S, C or more] with the unused channels behind those of each position, where there are any."""
        if words.is_contiguous():
            return words
        *outer, channels = words.shape
        return words.as_strided((*outer, -(-channels // ALIGNED) * ALIGNED), words.stride())

    def readout_for(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """The words [B, K] of the layer that the head reads, and the head's matrix [O, K], zero for unused channels."""
        if self.readout is None:
            raise TypeError("this network's head is no matrix")
        all_words, channels = self.with_padding(words), words.shape[-1]
        unused = all_words.shape[-1] - channels
        if unused and self._wide_readout is None:
            columns = self.readout.weight.unflatten(1, (-1, channels))
            self._wide_readout = torch.nn.functional.pad(columns, (0, unused)).flatten(1)
        weight = self._wide_readout if unused and self._wide_readout is not None else self.readout.weight
        return all_words.flatten(1), weight

    def word(self, T: int) -> torch.dtype:
        """The dtype of words in a run. Bytes take more instructions to open to float16 operands than int16 words do."""
        return torch.int16 if self.padded and self.half and T <= 8 else word_dtype(T)

    def give_back(self, result: Tensor) -> None:
        """What `words` or `room` gave and nobody will read again. A GPU's memory is torch's to keep."""
        if self.device.type == "cuda" or self.padded:
            return
        size = result.untyped_storage().nbytes()
        if size + sum(map(Tensor.numel, self.free.memory)) > FREE_BYTES:
            return
        items = size // result.itemsize
        insort(self.free.memory, result.as_strided((items,), (1,), 0).view(torch.uint8), key=Tensor.numel)

    def forget(self) -> None:
        """Lets go of what this thread may write to again."""
        self.free.memory.clear()

    def _route(self, running: dict[str, Layer]) -> None:
        """Routes as runs of elements to copy; a route that only another one reads becomes part of that."""
        indices: dict[str, Tensor] = {}
        for name, layer in list(running.items()):
            if not isinstance(layer, RouteLayer) or layer.index is None:
                continue
            index, (first, *more) = layer.index, layer.sources
            alone = [n for n, la in running.items() if first in la.sources] == [name] and first not in self.boundary
            if not more and alone and first in indices:
                inner = indices.pop(first)
                index = torch.where(index < 0, -1, inner.flatten()[index.clamp(min=0)])
                self.sources[name] = self.sources.pop(first)
                del running[first]
            indices[name] = index
        for name, index in indices.items():
            sizes = [torch.Size(self.layers[s].shape).numel() for s in self.sources[name]]
            self.routes[name] = Route(index.reshape(self.layers[name].shape), sizes)
