"""What a network puts out at each step by itself, not as a mean over the steps so far."""

from typing import Protocol

import torch
from torch import Tensor

from fastsnn.prepared import Prepared
from fastsnn.program import InputLayer, Program


class Run(Protocol):
    """The part of a run that its outputs depend on."""

    program: Program
    prepared: Prepared
    batch: int
    real: torch.dtype

    def numbers(self, name: str, results: dict[str, Tensor], T: int) -> Tensor: ...


def each_step(run: Run, kept: dict[str, Tensor], T: int) -> list[Tensor]:
    """The outputs after each of T steps [T, B, ...], channels last: the head is applied to all steps as one batch.

    kept   words, or numbers [T, B, ...], of the layers that the head reads, in floating point
    """
    results: dict[str, Tensor] = {}

    def step(name: str) -> Tensor:
        if name not in results:
            results[name] = run.numbers(name, kept, T).to(run.real)
        return results[name]

    for name, layer in run.prepared.head:
        if not isinstance(layer, InputLayer):
            results[name] = layer.dense([step(source) for source in layer.sources])
    return [step(name).unflatten(0, (T, run.batch)) for name in run.program.outputs]
