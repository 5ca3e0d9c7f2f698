"""Layers of numbers with a state of their own, which goes on from chunk to chunk: potentials, functions of means."""

from typing import Protocol

import torch
from torch import Tensor

from fastsnn.ops._changes import changes, changes_by, takes
from fastsnn.prepared import Prepared
from fastsnn.program import FunctionLayer, PotentialLayer


class Run(Protocol):
    """The part of a run that they see.

    states   of potentials, by layer [2, B, *S, C];   running   of functions: tensors [B, *S, C] each
    steps    before the chunk that is computed
    """

    prepared: Prepared
    real: torch.dtype
    batch: int
    steps: int
    states: dict[str, Tensor]
    running: dict[str, list[Tensor]]

    def room(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory to write to."""
        ...

    def give_back(self, result: Tensor) -> None:
        """Memory from `room` that nobody will read again."""
        ...

    def numbers(self, name: str, results: dict[str, Tensor], T: int) -> Tensor: ...


def integrated(run: Run, layer: PotentialLayer, results: dict[str, Tensor], T: int) -> Tensor:
    """Numbers [T, B, *S, C]: what neurons hold at each step."""
    read = [run.numbers(source, results, T).to(run.real) for source in layer.sources]
    inputs, *spikes = (numbers.unflatten(0, (T, run.batch)) for numbers in read)
    spiked = spikes[0] if spikes else None
    out, run.states[layer.name] = layer.over_time(inputs, spiked, run.states.get(layer.name))
    return out


def applied(run: Run, layer: FunctionLayer, results: dict[str, Tensor], T: int) -> Tensor:
    """Numbers [T, B, *S, C]: what a function of means changes by at each step."""
    inputs = [run.numbers(source, results, T).unflatten(0, (T, run.batch)) for source in layer.sources]
    steps = torch.arange(run.steps, run.steps + T + 1, dtype=torch.float64, device=inputs[0].device)
    if run.prepared.wake is not None:
        # what is given in the first steps counts as the mean over them
        steps.clamp_(max=run.prepared.wake)
    before = run.running.get(layer.name)
    if not run.prepared.computes(layer):
        out, run.running[layer.name] = layer.over_time(inputs, steps, before, run.prepared.differential)
        return out
    bits, inputs = layer.exponent or 0, [x.contiguous() for x in inputs]
    if layer.known is not None and takes(layer.known, inputs):
        out, run.running[layer.name] = changes(layer.known, inputs, steps, bits, before, run.room)
    else:
        out, run.running[layer.name] = changes_by(layer.values, inputs, steps, bits, before, run.room, run.give_back)
    return out
