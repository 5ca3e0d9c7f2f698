"""How a torch module that calls fastsnn's operators is observed: call by call, as it runs."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.network import SpikingNetwork
from fastsnn.profile.calls import READERS, Call
from fastsnn.profile.converted import Converted
from fastsnn.profile.counts import Counts, Observed, Reach, count
from fastsnn.profile.fused import Fused, over_time
from fastsnn.profile.layout import Facts
from fastsnn.profile.raster import Rows
from fastsnn.profile.recorder import Recorder
from fastsnn.profile.schema import Bytes, Macs


class Module:
    """A module over its own steps, as the profile sees it; see `fastsnn.profile.subject.Subject`.

    example    images [B, C, *S] that it is run on once, to see which operators it calls: they must be the same on
               every input
    sequences  the example is sequences, batch first: [B, T, C, *S]; the module takes [T, B, C, *S], and what it gives
               at each step, [T, B, classes], is averaged over the steps so far

    Raises ValueError where it calls none of fastsnn's neurons.
    """

    source, stepped, least = "module", False, 1
    method: str | None = None
    precision: str | None = None

    def __init__(self, module: nn.Module, example: Tensor, sequences: bool = False) -> None:
        self.module, self.name, self.sequences = module, type(module).__name__, sequences
        self.device = example.device
        self.rows: dict[str, Rows] = {}
        self._moved: dict[str, tuple[Bytes, int]] = {}
        recorder, calls, _ = self._recorded(example)
        self.inner = {path: self._within(path, *given) for path, given in recorder.networks.items()}
        self.facts = _facts(calls, len(example))
        for path, inner in self.inner.items():
            self.facts += [_renamed(facts, path) for facts in inner.facts]
        steps = [call.T for call in calls.values()] + [inner.T for inner in self.inner.values()]
        if not any(facts.neurons for facts in self.facts):
            raise ValueError(
                f"profile needs a network with spiking neurons: {self.name} calls none of fastsnn's, and holds no "
                "converted or fused network; convert it with fastsnn.convert, or fuse it with fastsnn.fuse"
            )
        self.T = max(steps)

    def observe(self, x: Tensor) -> tuple[Observed, Tensor | None]:
        """Runs images x: what was counted, and the output if it is a tensor [B, ...] or [T, B, ...]."""
        recorder, calls, output = self._recorded(x)
        known = {facts.name for facts in self.facts}
        names = set(calls) | {f"{path}.{f.name}" for path in recorder.networks for f in self.inner[path].facts}
        if names != known:
            raise ValueError(
                f"{self.name} called other operators for this batch than for the first one: "
                f"{', '.join(sorted(names ^ known))}"
            )
        counts: dict[str, Counts] = {}
        additions: dict[str, Tensor] = {}
        first = not self.rows
        for name, call in calls.items():
            parts = [count(read.words, call.T, [read.fan_out.to(x.device)])[1] for read in call.reads]
            additions[name] = torch.cat(parts) if parts else torch.zeros(0, call.T, dtype=torch.int64)
            if call.words is not None:
                counts[name] = count(call.words, call.T)[0]
                if first:
                    self.rows[name] = Rows.of(call.shape)
                    self.rows[name].add(call.words[:1], call.T)
        for path, given in self._seen(recorder).items():
            with torch.inference_mode():
                found = self.inner[path].observe(given)[0]
            counts |= {f"{path}.{name}": c for name, c in found.counts.items()}
            additions |= {f"{path}.{name}": a for name, a in found.additions.items()}
            self.rows |= {f"{path}.{name}": rows for name, rows in self.inner[path].rows.items()}
        if not isinstance(output, Tensor):
            return Observed(len(x), counts, additions), None
        averaged = self.sequences and output.ndim == 3
        return Observed(len(x), counts, additions), over_time(output) if averaged else output

    def run(self, x: Tensor, T: int | None = None) -> Any:
        """One run as users do it."""
        return self.module(x.transpose(0, 1) if self.sequences else x)

    def seconds(self, x: Tensor, rounds: int) -> dict[str, list[float]]:
        """Of each call, in each round; of a converted network inside, of its layers."""
        found: dict[str, list[float]] = {}
        for _ in range(rounds + 1):
            recorder, _, _ = self._recorded(x, found)
        result = {name: times[1:] for name, times in found.items()}
        for path, given in self._seen(recorder).items():
            inside = self.inner[path].seconds(given, rounds)
            result |= {f"{path}.{name}": times for name, times in inside.items()}
        return result

    def moved(self, batch: int) -> dict[str, Bytes]:
        """Bytes of one pass over a batch, by layer: those seen, in proportion to the images."""
        found = {name: _scaled(seen, batch, images) for name, (seen, images) in self._moved.items()}
        for path, converted in self.inner.items():
            found |= {f"{path}.{name}": moved for name, moved in converted.moved(batch).items()}
        return found

    def parameters(self) -> int:
        """Numbers among parameters and, of converted networks inside, weights and biases."""
        return sum(p.numel() for p in self.module.parameters()) + sum(c.parameters() for c in self.inner.values())

    def forget(self) -> None:
        """Lets go of words that converted networks inside keep for the next run."""
        for converted in self.inner.values():
            converted.forget()

    def _within(self, path: str, given: Tensor, timesteps: int | None) -> Converted | Fused:
        network: Any = self.module.get_submodule(path)
        if isinstance(network, SpikingNetwork):
            return Converted(network, timesteps or network.timesteps)
        return Fused(network, timesteps or len(given), timesteps is not None)

    def _seen(self, recorder: Recorder) -> dict[str, Tensor]:
        """What networks inside were given, batch first."""
        found = {}
        for path, (given, timesteps) in recorder.networks.items():
            inner = self.inner[path]
            if inner.T != (timesteps or (len(given) if isinstance(inner, Fused) else inner.T)):
                raise ValueError(f"{self.name} ran {path} for other steps than those of the first batch, {inner.T}")
            found[path] = given.transpose(0, 1) if isinstance(inner, Fused) and not inner.held else given
        return found

    def _recorded(
        self, x: Tensor, seconds: dict[str, list[float]] | None = None
    ) -> tuple[Recorder, dict[str, Call], Any]:
        """One run: calls by name, and the module's output; `seconds` is given the time of each."""
        calls: dict[str, Call] = {}

        def watch(path: str, operator: str, run: Callable[[], Any], args: tuple[Any, ...]) -> Any:
            name = _name(path, operator, calls)
            start = _now(x) if seconds is not None else 0.0
            out = run()
            if seconds is None:
                calls[name] = READERS[operator](*args, out=out)
            else:
                seconds.setdefault(name, []).append(_now(x) - start)
                calls[name] = Call(operator, 0, ())
            return out

        recorder = Recorder(self.module, watch)
        with recorder.recording():
            output = self.run(x)
        if seconds is None:
            self._moved = {name: (call.bytes, len(x)) for name, call in calls.items()}
        return recorder, calls, output


def _now(x: Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return perf_counter()


def _name(path: str, operator: str, taken: dict[str, Call]) -> str:
    """The submodule's path, or the operator in it; numbered where it is called again."""
    base = path or operator.split("::")[1]
    for name in (base, f"{base}.{operator.split('::')[1]}"):
        if name not in taken:
            return name
    n = 1
    while f"{name}_{n}" in taken:
        n += 1
    return f"{name}_{n}"


def _facts(calls: dict[str, Call], images: int) -> list[Facts]:
    spiking = [i for i, call in enumerate(calls.values()) if call.words is not None]
    found = []
    for i, (name, call) in enumerate(calls.items()):
        neurons = 0
        if call.words is not None:
            role, neurons = "spiking" if call.reads else "first", call.words[0].numel()
        elif call.reads:
            role = "readout" if call.kind == "readout" else "pool"
        else:
            role = "readout" if spiking and i > spiking[-1] else "numbers"
        macs: list[Macs] = []
        if call.macs:
            before = not spiking or i < spiking[0]
            kind = "first layer" if before else "readout" if role == "readout" else "numbers"
            macs.append({"kind": kind, "source": "numbers", "once": call.macs // images, "times": 1})
        reaches = tuple(Reach(read.kind, "words", "words", read.fan_out) for read in call.reads)
        shape = (call.shape[-1], *call.shape[:-1]) if call.shape else ()
        found.append(
            Facts(
                name,
                call.kind,
                role,
                shape,
                neurons,
                reaches,
                tuple(macs),
                call.existing,
                call.with_borders,
                call.weights,
                call.inputs,
            )
        )
    return found


def _renamed(facts: Facts, path: str) -> Facts:
    return replace(facts, name=f"{path}.{facts.name}")


def _scaled(seen: Bytes, batch: int, images: int) -> Bytes:
    def scaled(n: int) -> int:
        return n * batch // images

    return {
        "weights": seen["weights"],
        "read": scaled(seen["read"]),
        "written": scaled(seen["written"]),
        "potentials": scaled(seen["potentials"]),
        "float_simulation": scaled(seen["float_simulation"]),
    }
