"""The outputs of a network whose head is no matrix: its layers, applied to means over the steps so far."""

from typing import Protocol

import torch
from torch import Tensor

from fastsnn._registry import choose
from fastsnn.ops import pack
from fastsnn.ops._computed import computed
from fastsnn.ops._step import spikes_at
from fastsnn.prepared import Prepared
from fastsnn.program import InputLayer, Layer, Program
from fastsnn.program.fixed import summable

Results = dict[str, Tensor]


class Run(Protocol):
    """The part of a run that is seen here; `sums` over the `steps` so far of what the head reads."""

    program: Program
    prepared: Prepared
    layers: dict[str, Layer]
    real: torch.dtype
    static: Results
    steps: int
    sums: Results


def averaged(run: Run, kept: Results, T: int, over_time: bool) -> list[Tensor]:
    """Adds T steps to the sums and applies the head: at their end [B, ...], or after each of them [T, B, ...]."""
    prepared, layers = run.prepared, run.layers
    if not over_time and not prepared.differential:
        names, before = sorted(prepared.boundary), dict(run.sums)
        run.steps += T
        steps = run.steps

        def last() -> list[Tensor]:
            sums = {name: _more(before.get(name), _total(kept[name], layers[name].spiking)) for name in names}
            return [*sums.values(), *_head(run, sums, steps)]

        found = computed(last) if prepared.native else last()
        run.sums = dict(zip(names, found, strict=False))
        return found[len(names) :]
    each = []
    for t in range(T):
        for name in prepared.boundary:
            spiking, held = layers[name].spiking, kept[name]
            # sums over time leave the 32 bits that fixed-point numbers have
            amount = spikes_at(held, t).to(torch.int32) if spiking else summable(held[t])
            if prepared.differential:
                amount = amount.to(run.real) / (run.steps + 1)
            run.sums[name] = _more(run.sums.get(name), amount)
        run.steps += 1
        if over_time or t == T - 1:
            each.append(_head(run, run.sums, run.steps))
    return [torch.stack(outputs) if over_time else outputs[0] for outputs in zip(*each, strict=True)]


def _total(held: Tensor, spiking: bool) -> Tensor:
    return choose("counts", pack.op.COUNTS_BACKENDS, held)(held.contiguous()) if spiking else held.sum(0)


def _more(before: Tensor | None, amount: Tensor) -> Tensor:
    return amount if before is None else before + amount


def _head(run: Run, sums: Results, steps: int) -> list[Tensor]:
    """The outputs [B, ...] from the means over the steps so far."""
    results: Results = {}
    prepared, program = run.prepared, run.program
    divisor = 1 if prepared.differential else min(steps, prepared.wake or steps)

    def mean(name: str) -> Tensor:
        if name in results:
            return results[name]
        total = run.static[name] if name in run.static else sums[name]
        fixed = program.exponent is not None and name in prepared.inner and not run.layers[name].spiking
        value = total.to(run.real) if name in run.static else total.to(run.real) / divisor
        results[name] = value * 2.0 ** -(program.exponent or 0) if fixed else value
        return results[name]

    for name, layer in prepared.head:
        if not isinstance(layer, InputLayer):
            results[name] = layer.dense([mean(source) for source in layer.sources])
    return [mean(name) for name in program.outputs]
