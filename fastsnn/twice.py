"""Neurons that run twice: first on the first steps of their input, and then from where that says (COS)."""

from typing import Protocol

from torch import Tensor

from fastsnn._registry import choose
from fastsnn.currents import Results
from fastsnn.currents import Run as Driven
from fastsnn.ops import restart
from fastsnn.ops._step import spikes_at
from fastsnn.prepared import Prepared
from fastsnn.program import Layer, NeuronLayer


class Run(Driven, Protocol):
    """The part of a run that is looked at."""

    prepared: Prepared
    layers: dict[str, Layer]


def restarted(run: Run, layer: NeuronLayer, results: Results, T: int) -> Tensor:
    """Where the neurons of a layer start after a first run, step by step on the first steps of the same input.

    Raises ValueError where the input has fewer steps than that run.
    """
    driver, steps = run.prepared.drivers[layer.name], layer.neuron.probe
    if T < steps:
        raise ValueError(f"these neurons need at least {steps} steps, got {T}")
    seen: list[Tensor] = []
    potentials: list[Tensor] = []
    for t in range(steps):
        now = {name: _step_of(run, name, results[name], t) for name in layer.sources if name in results}
        words, v = driver(run, now, 1, potentials[-1] if potentials else None, True)
        if v is not None:
            seen.append(words.contiguous())
            potentials.append(v)
    backend = choose("restart", restart.op.BACKENDS, seen[0])
    return backend(seen, potentials, layer.threshold, layer.initial_potential)


def _step_of(run: Run, name: str, result: Tensor, t: int) -> Tensor:
    """One step of a layer's result, as the result of a run of one step."""
    if not run.layers[name].spiking:
        return result[t : t + 1]
    return spikes_at(result, t).to(run.prepared.word(1))
