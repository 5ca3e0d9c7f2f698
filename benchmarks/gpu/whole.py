"""What whole networks cost on a GPU, beside the dense network and other ways to run the spiking one.

python benchmarks/gpu/run.py --only resnet18
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import networks
import torch
from checks import WrongResult, mean_rate
from rows import RESULTS, Row, append
from timing import Times
from torch import Tensor

from gpu import converted, dense, jelly
from gpu.clock import Deadline, Slow, captured, interleaved, limited, turns
from gpu.converted import T
from gpu.rival import NAME as RIVAL
from gpu.rival import LayerByLayer
from gpu.tuning import few
from gpu.work import moved

PRECISIONS = ("int8", "float16", "int16", "int32")
TUNED = ("int8", "float16")
BATCHES = (256, 1, 32)
MEMORY_BATCH, MEMORY_T = 512, 32
BASELINE = "the dense network on the same GPU, batch norm folded, the fastest of: " + "; ".join(dense.NAMES.values())
Say = Callable[[str], None]


def say(text: str) -> None:
    print(text, flush=True)


def tuned(snn: Any, x: Tensor, deadline: Deadline) -> bool:
    """Measures a shortlist of tiles; False where there is no time for it, and the usual ones stay."""
    if not deadline.left:
        return False
    try:
        with limited(deadline.left), few():
            snn.tune(x, rounds=3)
    except Slow as slow:
        say(f"tuning {slow}: the usual tiles stay")
        return False
    return True


def peak(call: Callable[[], Any], on: torch.device) -> tuple[int, int] | None:
    """Most bytes of the GPU's memory that tensors take during a call, and before it; None on the CPU."""
    if on.type != "cuda":
        call()
        return None
    torch.cuda.synchronize(on)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(on)
    before = torch.cuda.memory_allocated(on)
    call()
    torch.cuda.synchronize(on)
    return torch.cuda.max_memory_allocated(on), before


def added(snn: Any, x: Tensor, on: torch.device) -> int | None:
    """Bytes that a run adds to the memory there is taken: without a graph, whose memory stays taken between runs."""
    graphs = getattr(snn, "graphs", None)
    snn.graphs = False
    try:
        found = peak(partial(snn, x), on)
    finally:
        if graphs is None:
            del snn.graphs
        else:
            snn.graphs = graphs
    return None if found is None else found[0] - found[1]


def backends(snn: Any, batch: int) -> dict[str, str]:
    """Neuron layer -> the backend that runs it at a batch size; without those that run step by step."""
    found = {name: driver.backend(batch, T) for name, driver in snn.prepared().drivers.items()}
    return {name: backend for name, backend in found.items() if backend is not None}


class Case:
    """One network at one batch size: what every precision is compared with, made ready once."""

    def __init__(self, name: str, batch: int, on: torch.device, kept: Path, deadline: Deadline) -> None:
        self.net, self.on, self.kept, self.deadline = networks.network(name), on, kept, deadline
        self.batch = batch
        self.sets = [converted.images(self.net, batch, on, number) for number in range(3)]
        self.x = self.sets[0]

    def prepare(self, snn: Any) -> None:
        """Makes the baselines ready; a spiking network in a floating precision says which logits are right."""
        x = self.x
        with torch.inference_mode():
            self.dense = dense.networks(self.net.model, x, self.deadline, say)
            self.want, target = snn(x).float(), self.dense["eager32"](x).float()
            # single spikes differ in float16; what that changes stays below what T steps change
            self.allowed = 2 * (self.want - target).abs().mean().item() + 1e-3
            thresholds = list(snn.thresholds.values())
            self.rival = self._rival(thresholds)
            limit = Deadline(self.deadline.left / 3)
            self.jelly = jelly.variants(self.net, thresholds, T, x, limit, self._good, say)

    def _good(self, logits: Tensor) -> bool:
        return bool((logits.float() - self.want).abs().mean().item() <= self.allowed)

    def _rival(self, thresholds: list[Tensor]) -> Callable[[Tensor], Tensor] | None:
        half = torch.float16 if self.on.type == "cuda" else torch.float32
        try:
            rival = LayerByLayer(self.net.model, [theta.cpu() for theta in thresholds], T, half).to(self.on)
            run = captured(rival, self.x)
            if self._good(run(self.x)):
                return run
            say("the hand-made rival is left out: its logits are off")
        except Exception as error:
            say(f"the hand-made rival is left out: {type(error).__name__}: {str(error)[:200]}")
        return None

    @torch.inference_mode()
    def measure(self, snn: Any, budget: float = 2.0) -> dict[str, Times]:
        """Times of the spiking network and of all it is compared with, in turn; of SpikingJelly with fewer rounds."""
        runs = {"snn": turns(snn, self.sets)}
        runs |= {name: turns(call, self.sets) for name, call in self.dense.items()}
        if self.rival is not None:
            runs["rival"] = turns(self.rival, self.sets)
        times = interleaved(runs, self.on, rounds=100, budget=budget)
        if self.jelly:
            slow = {name: turns(call, self.sets) for name, call in self.jelly.items()}
            found = interleaved(slow, self.on, rounds=20, least=2, budget=budget, warm=1)
            times |= {f"spikingjelly {name}": t for name, t in found.items()}
        return times


def figures(case: Case, snn: Any, times: dict[str, Times]) -> Row:
    """The part of a row that follows from the times."""
    ours = times["snn"]
    least = {name: t.least for name, t in times.items()}
    best16 = min((least[n] for n in dense.NAMES if n in least), default=None)
    graph = min((least[n] for n in ("graph16", "compiled_graph16") if n in least), default=None)
    theirs = {name: ms for name, ms in least.items() if name.startswith("spikingjelly")}
    fastest = min(theirs, key=theirs.__getitem__, default=None)
    work = moved(snn.program.layers, case.batch, T)

    def over(ms: float | None) -> float | None:
        return None if ms is None else ms / ours.least

    compiled = least.get("compiled16")
    return {
        "rounds": ours.rounds,
        "snn_ms": ours.least,
        "snn_median_ms": ours.median,
        "images_per_s": case.batch / ours.least * 1e3,
        "baseline": BASELINE,
        "ann_ms": best16,
        "ratio": None if best16 is None else ours.least / best16,
        **{f"{name}_ms": least.get(name) for name in dense.NAMES},
        "cost_per_step": None if compiled is None else ours.least / compiled / T,
        "graph_ratio": None if graph is None else ours.least / graph,
        "rival": RIVAL,
        "rival_ms": least.get("rival"),
        "rival_speedup": over(least.get("rival")),
        "torch_steps_speedup": None,
        "spikingjelly": jelly.found()[1] + (f" ({fastest.removeprefix('spikingjelly ')})" if fastest else ""),
        "spikingjelly_ms": theirs[fastest] if fastest else None,
        "spikingjelly_speedup": over(theirs[fastest]) if fastest else None,
        "moved_bytes": work.packed,
        "layerwise_float32_bytes": work.layerwise,
        "moved_share": work.share,
    }


def main(
    name: str, batch: int, on: torch.device, deadline: Deadline, kept: Path, folder: Path = RESULTS
) -> Iterator[Row]:
    """Rows of one network at one batch size, a precision each, as they are measured."""
    case = Case(name, batch, on, kept, deadline)
    prepared = False
    for number, precision in enumerate(PRECISIONS):
        if prepared and not deadline.left:
            say(f"left out for want of time: {name}, batch {batch}: {', '.join(PRECISIONS[number:])}")
            return
        snn = converted.spiking(name, precision, on, kept)
        if not prepared:
            reference = snn if snn.precision == "float16" else converted.spiking(name, "float16", on, kept)
            case.prepare(reference)
            prepared = True
        measured = precision in TUNED and tuned(snn, case.x, Deadline(deadline.left / 3))
        converted.check(snn, case.x)
        row: Row = {
            "case": "network",
            "network": name,
            "weights": case.net.weights,
            "images": case.net.pictures,
            "precision": precision,
            "batch": batch,
            "T": T,
            "rate": mean_rate(snn.spikes(case.x[:32])),
            "tuned": measured,
            "backends": backends(snn, batch),
            "graphs": bool(getattr(snn, "graphs", False)),
            "run_bytes": added(snn, case.x, on),
            **figures(case, snn, case.measure(snn)),
        }
        append(row, folder, on if on.type == "cuda" else None)
        yield row
        del snn


def memory(on: torch.device, kept: Path, folder: Path = RESULTS, batch: int = MEMORY_BATCH) -> Iterator[Row]:
    """How much of the GPU's memory ResNet-18 takes at many images and steps; nothing else is in it."""
    name, precision = "resnet18", "int8"
    net = networks.network(name)
    snn = converted.spiking(name, precision, on, kept)
    x = converted.images(net, batch, on)
    small = snn(x[:2], MEMORY_T)
    found = peak(lambda: snn(x, MEMORY_T), on)
    if not torch.allclose(snn(x, MEMORY_T)[:2], small, rtol=1e-4, atol=1e-4):
        raise WrongResult("logits of a batch are not those of its images by themselves")
    row: Row = {
        "case": "gpu_memory",
        "network": name,
        "precision": precision,
        "batch": batch,
        "T": MEMORY_T,
        # of all that the process keeps there: weights, images and the run
        "peak_bytes": None if found is None else found[0],
        "peak_gib": None if found is None else found[0] / 2**30,
    }
    append(row, folder, on if on.type == "cuda" else None)
    yield row
