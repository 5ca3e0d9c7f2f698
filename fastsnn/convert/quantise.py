"""How a float64 program becomes one of a given precision, and which powers of two fixed point uses.

In fixed point (int32) a neuron's threshold is 2^F with F = 24 unless its largest possible current needs less, or it
emits several thresholds a step, and numbers that no neuron follows at once are stored times 2^exponent, one exponent
for the whole network.
"""

import copy
import math

import torch
from torch import Tensor

from fastsnn.errors import ConversionError
from fastsnn.neurons import Neuron
from fastsnn.ops._step import LIMIT
from fastsnn.program import FunctionLayer, NeuronLayer, Program, Term, ValueLayer

PRECISIONS = ("int32", "int16", "int8", "float32", "float16", "bfloat16", "float64")
# those without fixed point or narrow weights
FLOATING = ("float32", "float64")
THRESHOLD_BITS = 24
VALUE_BITS = 30
MOST_BITS = 32
# a sum over spikes can exceed the same sum over rates; what still exceeds it saturates
HEADROOM = 16.0


def require_precision(method: str, neuron: Neuron, precision: str) -> None:
    """Raises ConversionError where neurons of a method cannot have a precision."""
    if neuron.floating and precision not in FLOATING:
        known = " or ".join(f'"{name}"' for name in FLOATING)
        raise ConversionError(
            f'{method} computes thresholds with exponentials, which needs precision={known}, got "{precision}"'
        )


def to_precision(program: Program, precision: str, peaks: dict[str, float]) -> Program:
    """A copy of a float64 program in `precision`; peaks[name] is the largest absolute value seen in layer `name`.

    "int16" and "int8" give the int32 program, "float16" and "bfloat16" the float32 one, that `quantise16` and `narrow`
    go on from.
    In int32 the layers that only see the mean over time (the head) stay float32.
    """
    program = copy.deepcopy(program)
    if not precision.startswith("int"):
        return program.to(torch.float64 if precision == "float64" else torch.float32)
    inner, spiking = program.inner(), {name for name, layer in program.layers.items() if layer.spiking}
    program.exponent = _exponent(program, inner, peaks)
    for name, layer in program.layers.items():
        if name not in inner:
            layer.to(torch.float32)
        elif isinstance(layer, NeuronLayer):
            _quantise_neuron(layer, program.exponent, spiking)
        elif isinstance(layer, ValueLayer):
            for term in layer.terms:
                _quantise_term(term, term.source in spiking, program.exponent, program.exponent)
            layer.bias = _fixed(layer.bias, program.exponent)
        elif isinstance(layer, FunctionLayer):
            layer.exponent = program.exponent
    return program


def _exponent(program: Program, inner: set[str], peaks: dict[str, float]) -> int:
    """Bits behind the point of all stored numbers: the most with which HEADROOM times the largest still fits."""
    largest = max((peaks.get(name, 0.0) for name in inner), default=0.0) * HEADROOM
    for layer in program.layers.values():
        if layer.name in inner and isinstance(layer, ValueLayer):
            parts = [layer.bias, *(t.weight for t in layer.terms)]
            largest = max(largest, *(p.abs().max().item() for p in parts))
    return _bits(VALUE_BITS, largest)


def _quantise_neuron(layer: NeuronLayer, exponent: int, spiking: set[str]) -> None:
    added = [x.abs().max().item() for x in (layer.bias, layer.schedule) if x is not None]
    reach = sum(added) + sum(t.reach() for t in layer.terms if t.source in spiking)
    # half a bit of room for the rounding of weights
    bits = min(THRESHOLD_BITS - math.ceil(math.log2(layer.neuron.peak)), _bits(VALUE_BITS - 0.5, reach))
    for term in layer.terms:
        _quantise_term(term, term.source in spiking, exponent, bits)
    layer.bias = _fixed(layer.bias, bits)
    layer.schedule = None if layer.schedule is None else _fixed(layer.schedule, bits)
    layer.threshold = _fixed(layer.threshold, bits)
    layer.initial_potential = _fixed(layer.initial_potential, bits)
    layer.ceiling = layer.ceiling.float()
    layer.unit = layer.unit.float()


def _quantise_term(term: Term, spikes: bool, source_bits: int, bits: int) -> None:
    """Weights such that a source of `source_bits` behind the point (none for spikes) gives a sum of `bits`."""
    if spikes:
        term.weight = _fixed(term.weight, bits)
        return
    weight_bits = _bits(VALUE_BITS + 0.5, term.reach())
    term.weight = _fixed(term.weight, weight_bits)
    term.shift = source_bits + weight_bits - bits


def _bits(room: float, largest: float) -> int:
    """The most bits behind the point with which `largest` stays below 2^room; at most 32, to keep shifts below 64."""
    return min(MOST_BITS, math.floor(room - math.log2(largest))) if largest > 0 else MOST_BITS


def _fixed(values: Tensor, bits: int) -> Tensor:
    return (values.double() * 2.0**bits).round().clamp(1 - 2 * LIMIT, 2 * LIMIT - 1).to(torch.int32)
