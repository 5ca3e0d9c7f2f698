"""The converted network that users hold: logits, accuracy over time, spikes, thresholds and the report."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn import _env, taken, whole
from fastsnn._registry import exporting
from fastsnn.accuracy import correct_over_time, fractions
from fastsnn.drive import Choice
from fastsnn.engine import Simulation
from fastsnn.graphs import Graphs
from fastsnn.memory import explained
from fastsnn.parts import images_at_once, in_parts
from fastsnn.prepared import Prepared
from fastsnn.program import Program
from fastsnn.program.axes import channels_last, logical, logical_steps
from fastsnn.reading import Reading, begun, chunks
from fastsnn.spikes import SpikeTrain, steps
from fastsnn.tapes import Tapes
from fastsnn.tuning import timed, tuned

# what runs begin with, where that is known: see `still`
Static = dict[str, Tensor] | None
# what belongs to one object and one process
UNCOPIED = ("_ready", "_graphs", "_lock", "_number")


class SpikingNetwork(nn.Module):
    """A converted network; made by `fastsnn.convert`, for inference only.

    Every call starts afresh, and the same input gives the same spikes. x is [B, C, *S] floating, shaped like the
    calibration images, on the device of the network.

    timesteps    T of a call that names none
    precision    "int32" (exact fixed point: spikes do not depend on batch, threads or device), "int16" (the same, with
                 weights of about 12 bits), "float32" or "float64"
    graphs       runs are recorded and replayed, on a GPU as CUDA graphs, for small batches; False: kernel by kernel
    report       what became of each layer; print it. After `tune`, also how each layer runs
    reading      what of a run is output: all of it, but for methods that say otherwise
    calibration  what was found on images: `snn.calibration.save(path)`, and `convert(model, path)` again
    """

    def __init__(
        self,
        program: Program,
        rebuild: Callable[[list[Any]], Any],
        timesteps: int,
        precision: str,
        method: Any,
        report: Any,
    ) -> None:
        super().__init__()
        self.program = program
        self.rebuild = rebuild
        self.timesteps, self.precision, self.method = timesteps, precision, method
        self._report, self.graphs = report, True
        self.calibration: Any = None
        self.reading = Reading()
        self._measured: dict[str, str] = {}
        self._choices: dict[str, Choice] = {}
        self._ready: tuple[Any, Prepared] | None = None
        self._graphs: tuple[Prepared, Graphs | Tapes] | None = None
        self._lock = Lock()
        self._number = whole.number_of(self)
        super().train(False)

    def train(self, mode: bool = True) -> "SpikingNetwork":
        if mode:
            raise RuntimeError("a converted network is for inference only; train the network before converting it")
        return super().train(False)

    def forward(self, x: Tensor, timesteps: int | None = None) -> Any:
        """Mean logits after `timesteps` steps, in the structure that the converted module returns."""
        return self.rebuild([logical(out) for out in self._outputs(x, timesteps, False)])

    def logits_over_time(self, x: Tensor, timesteps: int | None = None) -> Any:
        """Mean logits after every step: [T, B, classes], entry t - 1 being the mean over the first t steps."""
        return self.rebuild([logical_steps(out) for out in self._outputs(x, timesteps, True)])

    @torch.inference_mode()
    def spikes(self, x: Tensor, timesteps: int | None = None) -> dict[str, SpikeTrain]:
        """The spike train of every neuron layer, by name; neurons are [B, *S, C], channels last."""
        words: dict[str, list[Tensor]] = {name: [] for name in self.program.neurons}
        lengths = []
        for T, recorded, _ in self.chunks(x, timesteps, record=words):
            lengths.append(T)
            for name, word in recorded.items():
                words[name].append(word)
        amplitudes = {name: layer.neuron.firing.amplitudes for name, layer in self.program.neurons.items()}
        return {name: SpikeTrain.of(parts, lengths, amplitudes[name]) for name, parts in words.items()}

    def accuracy_over_time(
        self, loader: Iterable, timesteps: int | None = None, progress: bool = True, output: int = 0
    ) -> Tensor:
        """Accuracy after every step, from one pass: float64 [T], fractions in 0..1.

        loader   batches (images, labels): labels [B] are class numbers
        output   which output to judge, where the network has several heads
        """
        T = self._steps(timesteps)
        run = partial(self.logits_over_time, timesteps=T)
        return fractions(*correct_over_time(run, loader, T, self.device, progress, output))

    @torch.inference_mode()
    def analog(self, x: Tensor, clip: bool = True) -> Any:
        """The lowered network with each neuron replaced by its clipped ReLU: what the spikes approximate.

        clip   False leaves out the clipping at thresholds, which gives the outputs of the converted network. Needs a
               floating precision.
        """
        if self.program.exponent is not None:
            raise ValueError(f'analog needs precision "float32" or "float64", this network has "{self.precision}"')
        taken.require(x, self.program, self.device)
        outputs = self.program.dense(channels_last(x.to(self.real())), clip)
        return self.rebuild([logical(out) for out in outputs])

    @property
    def report(self) -> Any:
        """What became of each layer; after `tune` also how it runs and what that took."""
        if not self._measured:
            return self._report
        rows = tuple(
            replace(row, remark="; ".join(filter(None, [row.remark, self._measured.get(row.layer)])))
            for row in self._report.rows
        )
        return replace(self._report, rows=rows)

    @torch.inference_mode()
    def tune(self, x: Tensor, timesteps: int | None = None, rounds: int = 5, progress: bool = True) -> None:
        """Measures every way to run each layer on images like x and keeps the fastest; never changes a result.

        x         [B, C, *S]: the batch size, and the firing rates of these images, decide what is fastest
        rounds    times that each way is tried; the least time counts
        progress  shows how far it is: on a GPU every way is compiled first

        On a GPU the tiles are kept in a file, for this batch size and every later process.
        """
        taken.require_some(x, self.program, self.device, "tune")
        prepared, T = self.prepared(), self._steps(timesteps)
        found = tuned(self.program, prepared, x[: images_at_once(prepared, len(x), T)], T, steps(rounds), progress)
        self._choices, self._measured, self._ready = found.choices, found.measured, None

    @torch.inference_mode()
    def layer_seconds(self, x: Tensor, timesteps: int | None = None, rounds: int = 5) -> dict[str, list[float]]:
        """Seconds that each layer which runs over time takes for images like x, in each of several rounds.

        The constant current of a first layer is part of that layer; the head, which runs once, is not among them.
        """
        taken.require_some(x, self.program, self.device, "layer_seconds")
        return timed(self.program, self.prepared(), x, self._steps(timesteps), steps(rounds))

    @property
    def device(self) -> torch.device:
        return self.program.device

    @property
    def thresholds(self) -> dict[str, Tensor]:
        """Neuron layer -> its threshold in the converted network: what one spike is worth, one number or [C]."""
        return {name: layer.unit for name, layer in self.program.neurons.items()}

    @property
    def initial_potentials(self) -> dict[str, Tensor]:
        """Neuron layer -> V(0) in units of its threshold, one number or [*S, C]."""
        neurons = self.program.neurons.items()
        return {name: layer.initial_potential.double() / layer.threshold.double() for name, layer in neurons}

    def extra_repr(self) -> str:
        return f"timesteps={self.timesteps}, precision={self.precision}, method={self.method}"

    def _outputs(self, x: Tensor, timesteps: int | None, over_time: bool) -> list[Tensor]:
        """The outputs, channels last: [B, ...], or [T, B, ...] over time."""
        T = self._steps(timesteps)
        taken.require(x, self.program, self.device)
        if torch.compiler.is_dynamo_compiling():
            return whole.network(x, self._number, T, over_time)
        if exporting():
            return self._step_by_step(x, T, over_time)
        return self.run(x, T, over_time)

    @torch.inference_mode()
    def run(self, x: Tensor, T: int, over_time: bool) -> list[Tensor]:
        """The outputs of checked images, as `_outputs` gives them: by a recorded run, where there is one."""
        prepared, recording = self.prepared(), x.is_cuda and torch.cuda.is_current_stream_capturing()
        plain = not self.graphs or recording or len(x) == 0 or not (x.is_cuda or prepared.native)
        run = self._step_by_step if plain else self._recorded(prepared)
        with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
            return in_parts(run, prepared, x, T, over_time)

    def _step_by_step(self, x: Tensor, T: int, over_time: bool, static: Static = None) -> list[Tensor]:
        each = over_time or self.reading.delay > 0
        parts = [outputs for *_, outputs in self._chunks(x, T, over_time=each, static=static)]
        if over_time:
            return [torch.cat(chunks) if len(chunks) > 1 else chunks[0] for chunks in zip(*parts, strict=True)]
        return [out[-1] for out in parts[-1]] if each else parts[-1]

    def shapes(self, batch: int, T: int, over_time: bool) -> list[tuple[int, ...]]:
        """Shapes of what `run` gives."""
        time = (T,) if over_time else ()
        return [(*time, batch, *self.program.layers[name].shape) for name in self.program.outputs]

    def _recorded(self, prepared: Prepared) -> Graphs | Tapes:
        """The recorded runs of what `prepared` made: they hold its addresses, and go with it."""
        kept, run = self._graphs, self._step_by_step
        if kept is None or kept[0] is not prepared:
            made = Tapes.of(self.program, prepared, run) if prepared.native else Graphs(run)
            kept = self._graphs = (prepared, made)
        return kept[1]

    def chunks(
        self,
        x: Tensor,
        timesteps: int | None = None,
        record: Iterable[str] = (),
        over_time: bool = False,
    ) -> Iterator[tuple[int, dict[str, Tensor], list[Tensor]]]:
        """One run, piece by piece: for each chunk of at most 32 steps (T, words by layer, outputs), channels last.

        record      names of neuron layers, or of max pools of spikes, whose words [B, *S, C] are wanted
        over_time   outputs after each step [T, B, ...] instead of after the last one [B, ...]

        To be called under torch.inference_mode().
        """
        taken.require(x, self.program, self.device)
        yield from self._chunks(x, self._steps(timesteps), record, over_time)

    def _chunks(
        self, x: Tensor, T: int, record: Iterable[str] = (), over_time: bool = False, static: Static = None
    ) -> Iterator[tuple[int, dict[str, Tensor], list[Tensor]]]:
        """As `chunks`, of what was checked."""
        with explained(self.prepared(), x, T):
            yield from chunks(self._begun(x, static), T, record, over_time, self.reading)

    def simulation(self, x: Tensor) -> Simulation:
        """A run on images x [B, C, *S] that is advanced by hand, settled where the method asks for it."""
        taken.require(x, self.program, self.device)
        return self._begun(x)

    def _begun(self, x: Tensor, static: Static = None) -> Simulation:
        return begun(Simulation(self.program, x, self.prepared(), static=static), self.reading)

    def prepared(self) -> Prepared:
        """What runs share, made at the first run and again when the network has moved or another backend is forced."""
        if exporting():
            return Prepared(self.program, operators=True)
        key, ready = (self.device, _env.BACKEND), self._ready
        if ready is None or ready[0] != key:
            with self._lock:
                ready = self._ready
                if ready is None or ready[0] != key:
                    ready = self._ready = (key, Prepared(self.program, self._choices))
        return ready[1]

    def save(self, path: str | Path) -> Path:
        """Writes the whole network as one .safetensors file, see `fastsnn.saved.save`; `fastsnn.load` reads it."""
        from fastsnn.saved import save

        return save(self, path)

    def forget(self) -> None:
        """Lets go of memory that is kept for the next run: words of layers, and runs that were recorded."""
        self.prepared().forget()
        self._graphs = None

    def _apply(self, *args: Any, **kwargs: Any) -> "SpikingNetwork":
        self._ready = self._graphs = None
        return super()._apply(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self._ready = self._graphs = None
        return super().load_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in UNCOPIED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._ready, self._graphs, self._lock = None, None, Lock()
        self._number = whole.number_of(self)

    def _steps(self, timesteps: int | None) -> int:
        # looking at every layer takes long, and preparing is not for compilers to trace
        known = self.program if torch.compiler.is_compiling() else self.prepared()
        T, most = self.timesteps if timesteps is None else steps(timesteps), known.longest_run
        if most is not None and most < T:
            raise ValueError(f"this network was calibrated for {most} time-steps, got {T}")
        return T

    def real(self) -> torch.dtype:
        """dtype of the outputs."""
        return torch.float64 if self.precision == "float64" else torch.float32
