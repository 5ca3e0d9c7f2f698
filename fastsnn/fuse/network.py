"""A network of neurons that spiked before: sequences in, sequences out, all steps of a layer in one call."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn import _env
from fastsnn._registry import exporting
from fastsnn.clock import Clock
from fastsnn.engine import Simulation
from fastsnn.nn.sequence import last
from fastsnn.ops.pack import pack
from fastsnn.prepared import Prepared
from fastsnn.program import Program
from fastsnn.program.axes import logical_steps
from fastsnn.spikes import SpikeTrain, chunk_lengths, steps
from fastsnn.taken import require_kind
from fastsnn.tuning import repeated


@dataclass(frozen=True)
class State:
    """Where a run stopped; what `FusedNetwork.run` goes on from. It belongs to one network, batch size and device."""

    simulation: Simulation


class FusedNetwork(nn.Module):
    """What `fastsnn.fuse` makes of a spiking network, for inference only. Every call starts from the reset state.

    x           [T, B, C, *S] floating: the input of each step; with `timesteps` [B, C, *S], the same at every step. Of
                a network that was fused for spikes 0 or 1
    timesteps   T of an input that is held

    Gives what the network gives at each step, [T, B, ...], in the structure that it returns.

    report   what became of each module and layer; print it
    """

    def __init__(self, program: Program, rebuild: Callable[[list[Any]], Any], report: Any) -> None:
        super().__init__()
        self.program, self.rebuild, self.report = program, rebuild, report
        self._ready: dict[tuple[Any, ...], tuple[Program, Prepared]] = {}
        self._lock = Lock()
        super().train(False)

    def train(self, mode: bool = True) -> "FusedNetwork":
        if mode:
            raise RuntimeError("a fused network is for inference only; train the network that it was made from")
        return super().train(False)

    def forward(self, x: Tensor, timesteps: int | None = None) -> Any:
        return self.run(x, None, timesteps)[0]

    @torch.no_grad()
    def run(self, x: Tensor, state: State | None = None, timesteps: int | None = None) -> tuple[Any, State]:
        """(outputs [T, B, ...], where the run stopped); goes on from `state`, if one is given."""
        outputs, _, simulation = self._run(x, state, timesteps, ())
        return self.rebuild([logical_steps(out) for out in outputs]), State(simulation)

    @torch.no_grad()
    def spikes(self, x: Tensor, timesteps: int | None = None) -> dict[str, SpikeTrain]:
        """The spike train of every layer of neurons, by name; neurons are [B, *S, C], channels last."""
        neurons = self.program.neurons
        _, words, _ = self._run(x, None, timesteps, neurons)
        return {
            name: SpikeTrain.of([part for _, part in parts], [T for T, _ in parts], neurons[name].amplitudes)
            for name, parts in words.items()
        }

    @torch.no_grad()
    def layer_seconds(self, x: Tensor, timesteps: int | None = None, rounds: int = 5) -> dict[str, list[float]]:
        """Seconds that each layer takes for inputs like x, in each of several rounds; on a GPU the least of them."""
        steps(rounds)

        def run(timer: Clock) -> dict[str, float]:
            total: dict[str, float] = {}
            simulation, pieces = self._pieces(x, None, timesteps, ())
            simulation.clock = timer
            for _ in pieces:
                for name, seconds in simulation.seconds.items():
                    total[name] = total.get(name, 0.0) + seconds
            return total

        return repeated(run, self.device, rounds)

    def running(self, held: bool) -> Program:
        """What runs on an input that is held, or on sequences: the same layers, over time from another one on."""
        return self._prepared(held)[0]

    def forget(self) -> None:
        """Lets go of memory that is kept for the next run: words of layers."""
        for _, prepared in self._ready.values():
            prepared.forget()

    def save(self, path: str | Path) -> Path:
        """Writes the whole network as one .safetensors file, see `fastsnn.saved.save`; `fastsnn.load` reads it."""
        from fastsnn.saved import save

        return save(self, path)

    @property
    def device(self) -> torch.device:
        return self.program.device

    def extra_repr(self) -> str:
        return f"{len(self.program.neurons)} layers of neurons"

    @torch.no_grad()
    def chunks(
        self, x: Tensor, timesteps: int | None = None, record: Iterable[str] = ()
    ) -> Iterator[tuple[int, dict[str, Tensor], list[Tensor]]]:
        """One run, piece by piece: for each chunk of at most 32 steps (T, words by layer, outputs [T, B, ...]),
        channels last.

        record   names of layers of neurons, of max pools of spikes, or of an input of spikes, whose words [B, *S, C]
                 are wanted
        """
        yield from self._pieces(x, None, timesteps, record)[1]

    def _run(
        self, x: Tensor, state: State | None, timesteps: int | None, record: Iterable[str]
    ) -> tuple[list[Tensor], dict[str, list[tuple[int, Tensor]]], Simulation]:
        words: dict[str, list[tuple[int, Tensor]]] = {name: [] for name in record}
        simulation, pieces = self._pieces(x, state, timesteps, words)
        parts = []
        for length, found, outputs in pieces:
            for name, word in found.items():
                words[name].append((length, word))
            parts.append(outputs)
        return [torch.cat(each) for each in zip(*parts, strict=True)], words, simulation

    def _pieces(
        self, x: Tensor, state: State | None, timesteps: int | None, record: Iterable[str]
    ) -> tuple[Simulation, Iterator[tuple[int, dict[str, Tensor], list[Tensor]]]]:
        """A run that is begun, and its chunks as `chunks` gives them."""
        x, held, T = self._input(x, timesteps)
        simulation = self._begun(x, held, state)
        # a sequence that is a view of one image is that image
        sequence = None if held else last(x)

        def pieces() -> Iterator[tuple[int, dict[str, Tensor], list[Tensor]]]:
            at = 0
            for length in chunk_lengths(T, simulation.longest_chunk()):
                given = None if sequence is None else self._given(sequence[at : at + length], simulation)
                yield length, *simulation.advance(length, record, over_time=True, given=given)
                at += length

        return simulation, pieces()

    def _given(self, steps: Tensor, simulation: Simulation) -> Tensor:
        """Some steps of a sequence, channels last, as the engine takes them."""
        return pack(steps) if self.program.input.spiking else steps.to(simulation.real)

    def _input(self, x: Tensor, timesteps: int | None) -> tuple[Tensor, bool, int]:
        """(x, whether it is one image for all steps, T). Raises ValueError or TypeError for what is not taken."""
        image = self.program.image
        sizes = ", ".join(map(str, image))
        require_kind(x, self.device)
        if self.program.input.spiking:
            if timesteps is not None:
                raise ValueError("this network takes spikes, which are not the same at every step: give a sequence")
            if not exporting() and not bool(((x == 0) | (x == 1)).all()):
                raise ValueError("this network was fused for spikes, 0 or 1 at each step, and got other numbers")
        if timesteps is not None:
            if x.ndim != len(image) + 1 or tuple(x.shape[1:]) != image:
                raise ValueError(f"with timesteps this network takes inputs [B, {sizes}], got {list(x.shape)}")
            return x, True, steps(timesteps)
        if x.ndim != len(image) + 2 or tuple(x.shape[2:]) != image or len(x) < 1:
            raise ValueError(
                f"this network takes sequences [T, B, {sizes}], or with timesteps=T inputs [B, {sizes}], "
                f"got {list(x.shape)}"
            )
        view = len(x) > 1 and x.stride(0) == 0 and not self.program.input.spiking
        return (x[0], True, len(x)) if view else (x, False, len(x))

    def _begun(self, x: Tensor, held: bool, state: State | None) -> Simulation:
        batch = len(x) if held else x.shape[1]
        if state is None:
            first = x if held else x.new_zeros((batch, 0))
            program, prepared = self._prepared(held)
            return Simulation(program, first, prepared, stepwise=True)
        simulation = state.simulation
        if simulation.batch != batch:
            raise ValueError(
                f"this state is of a batch of {simulation.batch}, got {batch}: start afresh, from state=None"
            )
        if simulation.program.input.timed == held:
            kinds = ("a sequence", "an input that is held")
            raise ValueError(f"this state is of a run on {kinds[not held]}, got {kinds[held]}")
        if held:
            raise ValueError("an input that is held cannot go on from a state: give a sequence [T, B, ...]")
        return simulation

    def _prepared(self, held: bool) -> tuple[Program, Prepared]:
        """What runs of one kind share, made at the first of them and again where the network has moved."""
        if exporting():
            program = self.program.given_as(timed=not held)
            return program, Prepared(program, operators=True)
        key = (held, self.device, _env.BACKEND)
        with self._lock:
            if key not in self._ready:
                program = self.program.given_as(timed=not held)
                self._ready[key] = (program, Prepared(program))
            return self._ready[key]

    def _apply(self, *args: Any, **kwargs: Any) -> "FusedNetwork":
        self._ready = {}
        return super()._apply(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self._ready = {}
        return super().load_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_ready", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._ready, self._lock = {}, Lock()
