"""How a program runs over time: in chunks of steps, words between layers, the membranes carried from chunk to chunk."""

from collections.abc import Iterable
from functools import partial
from zlib import crc32

import torch
from torch import Tensor

from fastsnn._registry import choose, exporting
from fastsnn.averages import averaged
from fastsnn.clock import Clock
from fastsnn.counted import counted
from fastsnn.currents import CONSTANT
from fastsnn.gates import gated
from fastsnn.memory import bytes_an_image
from fastsnn.ops import emit, pack
from fastsnn.ops import readout as readouts
from fastsnn.ops._computed import computed
from fastsnn.prepared import Prepared
from fastsnn.program import (
    CountLayer,
    FunctionLayer,
    GateLayer,
    InputLayer,
    Layer,
    NeuronLayer,
    PlaneLayer,
    PotentialLayer,
    Program,
    RouteLayer,
    ValueLayer,
)
from fastsnn.spikes import MAX_STEPS, joined, word_dtype
from fastsnn.stateful import applied, integrated
from fastsnn.stepwise import each_step
from fastsnn.still import narrow, still
from fastsnn.twice import restarted

# share of a threshold that is no membrane potential worth going on for
USED_UP = 1e-3
# what the results of one chunk may take at once where a network has numbers over time, in bytes
CHUNK_BYTES = 2**29


class Simulation:
    """One run of a program on a batch: fresh at the start, then advanced by any number of steps.

    x         [B, C, *S] floating: the images, fed as a constant current. Where the input changes from step to step each
              call of `advance` is given its own, and of x only the batch size matters
    prepared  what runs of the program share; made here if it is not given
    stepwise  outputs over time are those of each step alone, not means over the steps so far
    static    what `still` gives for the images, if that is known
    """

    def __init__(
        self,
        program: Program,
        x: Tensor,
        prepared: Prepared | None = None,
        stepwise: bool = False,
        static: dict[str, Tensor] | None = None,
    ) -> None:
        self.program, self.prepared = program, prepared or Prepared(program)
        self.layers = self.prepared.layers
        self.real = self.prepared.real
        self.room, self.give_back = self.prepared.room, self.prepared.give_back
        self.steps, self.stepwise, self.batch = 0, stepwise, x.shape[0]
        self.given: Tensor | None = None
        self.potential: dict[str, Tensor | None] = {}
        self.gates: dict[str, Tensor] = {}
        self.states: dict[str, Tensor] = {}
        self.running: dict[str, list[Tensor]] = {}
        self.sums: dict[str, Tensor] = {}
        self.silent: dict[str, Tensor] = {}
        # where times are wanted: of each layer in the last call of `advance`
        self.clock: Clock | None = None
        self.seconds: dict[str, float] = {}
        self.static = still(program, self.prepared, x) if static is None else static
        self.lent: set[str] = set()

    def advance(
        self,
        T: int,
        record: Iterable[str] = (),
        over_time: bool = False,
        last: bool = False,
        given: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Runs T more steps, T in 1..32; `last` says that no more will follow, so that potentials need not be kept.

        given   the input of these steps, where it changes from step to step: [T, B, *S, C], of spikes words [B, *S, C]

        Returns the words of the layers in `record`, and the outputs, channels last: after the last step [B, ...], or
        after each step [T, B, ...].
        """
        if self.steps and self.prepared.waits:
            raise ValueError(
                f"these neurons need all steps of a run at once: {self.steps} were run, and {T} more cannot follow"
            )
        record, self.given = list(record), given
        wake = (self.prepared.wake or 0) - self.steps
        if not 0 < wake < T:
            return self._advance(T, record, over_time, last)
        early, before = self._advance(wake, record, over_time, False)
        late, after = self._advance(T - wake, record, over_time, last)
        words = {name: joined([early[name], late[name]], [wake, T - wake]) for name in record}
        return words, [torch.cat(pair) for pair in zip(before, after, strict=True)] if over_time else after

    @property
    def asleep(self) -> bool:
        """Whether images and biases are no longer given."""
        return self.prepared.wake is not None and self.steps >= self.prepared.wake

    def _advance(
        self, T: int, record: list[str], over_time: bool, last: bool
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        keep = self.prepared.boundary.union(record)
        kept: dict[str, Tensor] = {}
        results: dict[str, Tensor] = {}
        readers = dict(self.prepared.readers)
        for name, layer in self.prepared.running:
            if self.clock is None:
                results[name] = self._run(layer, results, T, not last)
            else:
                results[name], self.seconds[name] = self.clock(partial(self._run, layer, results, T, not last))
            if last and name + CONSTANT in self.lent:
                self.lent.remove(name + CONSTANT)
                self.prepared.give_back(self.static.pop(name + CONSTANT))
            if name in keep:
                kept[name] = results[name]
            for source in set(self.prepared.sources[name]):
                readers[source] -= 1
                if readers[source] == 0:
                    done = results.pop(source, None)
                    if done is not None and source not in keep and source in self.prepared.reusable:
                        self.prepared.give_back(done)
        outputs = self._read(kept, T, over_time)
        return {name: kept[name].contiguous().to(word_dtype(T)) for name in record}, outputs

    def words(self, layer: NeuronLayer, T: int) -> Tensor:
        """Memory for the words of a layer over T steps."""
        shape = layer.neuron.firing.words_of((self.batch, *layer.shape))
        return self.prepared.words(shape, self.prepared.word(T))

    def longest_chunk(self) -> int:
        """Steps that one call may take for its results to stay below CHUNK_BYTES; 32 where all of them are spikes."""
        steps = MAX_STEPS
        # a graph is of any batch size
        if exporting() or all(layer.spiking for _, layer in self.prepared.running):
            return steps
        while steps > 1 and self.batch * bytes_an_image(self.prepared, steps) > CHUNK_BYTES:
            steps //= 2
        return steps

    def _run(self, layer: Layer, results: dict[str, Tensor], T: int, keep: bool) -> Tensor:
        if isinstance(layer, NeuronLayer):
            return self.fire(layer, results, T, keep)
        if isinstance(layer, InputLayer) and self.given is not None:
            return self.given
        if isinstance(layer, PlaneLayer):
            return results[layer.source][layer.plane]
        if isinstance(layer, GateLayer):
            return self._gate(layer, results[layer.source], T)
        if isinstance(layer, CountLayer):
            return counted(layer, results[layer.source])
        if isinstance(layer, PotentialLayer):
            return integrated(self, layer, results, T)
        if isinstance(layer, FunctionLayer):
            return applied(self, layer, results, T)
        if isinstance(layer, RouteLayer) and layer.spiking:
            words = [results[s] for s in self.prepared.sources[layer.name]]
            if len(layer.amplitudes) == 1:
                return self._moved(layer, words)
            return self._moved(layer, [w.flatten(0, 1) for w in words]).unflatten(0, (-1, self.batch))
        if isinstance(layer, ValueLayer):
            return self.prepared.totals[layer.name](self, results, T, not self.asleep)
        inputs = [self.numbers(source, results, T).contiguous() for source in self.prepared.sources[layer.name]]
        return self._moved(layer, inputs).unflatten(0, (T, self.batch))

    def _moved(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        route = self.prepared.routes.get(layer.name)
        if route is None:
            return layer.dense(inputs)
        return route(inputs, self.room((len(inputs[0]), *route.shape), inputs[0].dtype))

    def narrow(self, name: str) -> Tensor:
        if name in self.static and self.prepared.native:
            held = self.static[name]
            return computed(lambda: [held.int()])[0]
        return narrow(self.static, name, self.program.exponent)

    def numbers(self, name: str, results: dict[str, Tensor], T: int) -> Tensor:
        """What a layer holds or emits at each of T steps, all of them as one batch [T * B, *S, C]: int32, or floats."""
        if name not in self.static and not self.layers[name].spiking:
            return results[name].flatten(0, 1)
        dtype = torch.int32 if self.program.exponent is not None else self.real
        still, asleep = name in self.static, self.asleep
        held = self.static[name] if still else results[name]

        def opened() -> list[Tensor]:
            if not still:
                return [pack.unpack(held.contiguous(), T).to(dtype)]
            return [(torch.zeros_like(held) if asleep else held).to(dtype).expand(T, *held.shape)]

        (numbers,) = computed(opened) if self.prepared.native else opened()
        return numbers.flatten(0, 1)

    def fire(self, layer: NeuronLayer, results: dict[str, Tensor], T: int, keep: bool) -> Tensor:
        """Words of a neuron layer for T steps; its membrane potential is kept for the next chunk."""
        driver = self.prepared.drivers[layer.name]
        neuron = layer.neuron
        if neuron.emission == "offset":
            return driver(self, results, T, restarted(self, layer, results, T), False)[0]
        out, v = driver(self, results, T, self.potential.get(layer.name), keep or neuron.waits)
        if neuron.waits and v is not None:
            run, words = choose("emit", emit.op.BACKENDS, out), out.contiguous()
            # layers draw numbers of their own
            return run(words, v, layer.threshold, T, neuron.emission, neuron.seed ^ crc32(layer.name.encode()))
        self.potential[layer.name] = v
        return out if (silent := self.silent.get(layer.name)) is None else out.masked_fill_(silent, 0)

    def keep(self, images: Tensor) -> None:
        """Goes on with some images of the batch, by index [n]."""
        for name, v in self.potential.items():
            counted = self.program.neurons[name].neuron.firing.counted
            self.potential[name] = v if v is None else v[:, images] if counted else v[images]
        self.states = {name: state[:, images] for name, state in self.states.items()}
        self.running = {name: [held[images] for held in state] for name, state in self.running.items()}
        for held in (self.gates, self.sums, self.silent, self.static):
            held.update({name: value[images] for name, value in held.items()})
        self.batch = len(images)

    def settle(self) -> None:
        """Neurons start again, and those whose membrane potential is (nearly) used up are silent from now on.

        Their potentials go on as before; only what they emit is suppressed. Sums of the output start again as well.
        Source: Hao et al., AAAI 2023 (SRP).
        """
        for name, v in self.potential.items():
            if v is not None:
                self.silent[name] = v <= USED_UP * self.program.neurons[name].threshold.double()
        self.potential, self.gates, self.states, self.running, self.sums, self.steps = {}, {}, {}, {}, {}, 0

    def _gate(self, layer: GateLayer, words: Tensor, T: int) -> Tensor:
        # unused channels are pooled as well, which is less work than leaving them out
        out, after = gated(layer, self.prepared.with_padding(words), T, self.gates.get(layer.name))
        if after is not None:
            self.gates[layer.name] = after
        return out[..., : words.shape[-1]]

    def _read(self, kept: dict[str, Tensor], T: int, over_time: bool) -> list[Tensor]:
        """Adds a chunk to the sums over time and applies the head to the means: at its end, or at each step."""
        if self.stepwise:
            self.steps += T
            return each_step(self, kept, T)
        readout = self.prepared.readout
        if readout is not None:
            words, weight = self.prepared.readout_for(kept[readout.source])
            before = self.sums.get(readout.source)
            if before is None:
                before = torch.zeros(words.shape, dtype=torch.int32, device=words.device)
            run = choose("readout", readouts.op.BACKENDS, words)
            logits, self.sums[readout.source] = run(words, weight, readout.bias, before, T, self.steps, over_time)
            self.steps += T
            return [logits.unflatten(-1, readout.shape)]
        return averaged(self, kept, T, over_time)
