"""How calibration images become thresholds, initial potentials and corrections, and these a program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastsnn.convert import parameters
from fastsnn.convert.calibrate import Calibration, calibrate, first_batch
from fastsnn.convert.graph import Graph
from fastsnn.convert.lower import lower
from fastsnn.convert.measure import LayerError
from fastsnn.convert.parameters import Parameters
from fastsnn.convert.refine import Correction, Refinement, refine
from fastsnn.errors import ConversionError
from fastsnn.methods import Balancing, Correcting, Method
from fastsnn.program import InputLayer, Program, RouteLayer, ValueLayer
from fastsnn.reading import Reading

# layers behind the last neurons that keep sums over time sums
AFFINE = ValueLayer | RouteLayer


@dataclass(frozen=True)
class Wanted:
    """What is asked for: the graph with its max pools settled, its bounds by neuron layer, and the method."""

    graph: Graph
    bounds: Mapping[str, Tensor | None]
    method: Method
    device: torch.device


def rereadable(data: Any, method: Method) -> None:
    """Raises TypeError where a method reads images several times and they can be read once."""
    if getattr(method, "rereads", False) and hasattr(data, "__next__"):
        raise TypeError(
            f"method {method.name} reads the calibration images several times: give a tensor, a list of batches or a "
            "DataLoader, not an iterator"
        )


def fit(
    wanted: Wanted, data: Any, found: Parameters, checkpoint: Path | None, progress: bool
) -> tuple[Program, Calibration]:
    """The float64 program, and statistics of the images that it was fitted to; fills in `found`.

    checkpoint  file that is written after each corrected layer, and gone on from where it exists
    """
    graph, method, T = wanted.graph, wanted.method, found.timesteps
    _, stream = first_batch(data)
    ones = {name: torch.ones(()) for name in wanted.bounds}
    bare = lower(graph, ones, method.neuron).to(wanted.device, torch.float32)
    seen = calibrate(bare, stream, wanted.device, progress)
    found.peaks = seen.peaks
    if isinstance(method, Balancing):
        found.units = method.balance(bare, data, wanted.bounds, wanted.device, progress)
        means = {name: activation.mean().cpu() for name, activation in seen.activations.items()}
        found.reading = Reading(delay=method.delay(found.units, means))
    else:
        found.reading = Reading(settling=getattr(method, "settling", 0))
        each = wanted.bounds.items()
        found.units = {name: method.threshold(seen.activations[name], bound, T).cpu().double() for name, bound in each}
    program = lower(graph, found.units, method.neuron)
    _require_affine(program, found.reading.delay)
    found.starts = _start(program, method, seen, T)
    if isinstance(method, Correcting):
        done = _done(checkpoint, found) if checkpoint is not None else {}

        def keep(corrections: dict[str, Correction]) -> None:
            if checkpoint is not None:
                replace(found, corrections=dict(corrections)).save(checkpoint)

        given = Refinement(program, bare, data, wanted.device, seen.peaks, T)
        found.corrections = refine(given, method.correct, done, keep, progress)
    return program, seen


def again(wanted: Wanted, found: Parameters) -> Program:
    """The float64 program of parameters that were kept. Raises ValueError where layers are missing."""
    lacking = [name for name in wanted.bounds if name not in found.units or name not in found.starts]
    if isinstance(wanted.method, Correcting):
        lacking += [name for name in wanted.bounds if name not in found.corrections]
    if lacking:
        raise ValueError(
            f"calibration was interrupted before it was done: it lacks {', '.join(dict.fromkeys(lacking))}; go on with "
            "convert(..., checkpoint=FILE)"
        )
    program = lower(wanted.graph, found.units, wanted.method.neuron)
    for name, layer in program.neurons.items():
        layer.initial_potential = found.starts[name]
        found.corrections.get(name, Correction()).apply(layer)
    return program


def _require_affine(program: Program, delay: int) -> None:
    """Raises ConversionError where steps are to be left out of a mean that the output is no affine function of."""
    inner = program.inner()
    other = [n for n, la in program.layers.items() if n not in inner and not isinstance(la, InputLayer | AFFINE)]
    if delay and other:
        raise ConversionError(
            f"an output that is read late must be affine in the spikes, but {', '.join(other)} is not"
        )


def _start(program: Program, method: Method, found: Calibration, T: int) -> dict[str, Tensor]:
    """Sets the initial potentials, layer after layer: a measured one depends on those before it."""
    errors: Callable[[str, float], float] = LayerError(program, found.samples, T)
    starts = {}
    for name, layer in program.neurons.items():
        start = method.initial_potential(layer.shape, partial(errors, name))
        layer.initial_potential = starts[name] = torch.as_tensor(start, dtype=torch.float64)
    return starts


def _done(checkpoint: Path, found: Parameters) -> dict[str, Correction]:
    """Corrections of an interrupted run of the same calibration. Raises ValueError where it was another one."""
    if not checkpoint.is_file():
        return {}
    known = parameters.load(checkpoint)
    same(checkpoint, known, found)
    for name, unit in found.units.items():
        if name not in known.units or not torch.equal(known.units[name], unit):
            raise ValueError(f"{checkpoint}: it was begun with other calibration images: thresholds of {name} differ")
    return known.corrections


def same(path: Path, known: Parameters, wanted: Parameters) -> None:
    """Raises ValueError where a calibration file is of another network, method, T or max pooling."""
    what = {
        "network": "another network, or other weights",
        "method": f"method {known.method[0]} with {known.method[1]}",
        "timesteps": f"T = {known.timesteps}",
        "max_pool": f"max_pool={known.max_pool!r}",
    }
    for name, said in what.items():
        if getattr(known, name) != getattr(wanted, name):
            asked = "" if name == "network" else f", asked for was {getattr(wanted, name)!r}"
            raise ConversionError(f"calibration file {path} is of {said}{asked}")
