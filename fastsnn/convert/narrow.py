"""Weights of 8 or 16 bits for tensor cores, which currents, thresholds and potentials stay wider than.

int8: in channel c one threshold is the even number s_c that the largest of its weights leaves room for; weights, bias
and V(0) are rounded to multiples of 1 / s_c, sums are exact in 32 bits. float16 and bfloat16: weights are rounded to
that type, everything else is float32.
"""

import copy

import torch
from torch import Tensor

from fastsnn.convert.quantise import VALUE_BITS
from fastsnn.convert.quantise16 import NUMBERS, channel_scale, largest, quantise, reaches, require_some
from fastsnn.program import NeuronLayer, Program, ScaleTerm, Term

LARGEST_WEIGHT = 127
# steps to a threshold: fewer than LEAST, and rounding decides too much; more than MOST change nothing
LEAST, MOST = 16, 2**20
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def to_int8(exact: Program, program: Program) -> tuple[Program, dict[str, str]]:
    """An int32 program with 8-bit weights where layers read spikes, and for the other layers the reason why not.

    exact  the same program in float64, which weights are rounded from

    Raises ConversionError with all reasons where no layer allows it.
    """
    program = copy.deepcopy(program)
    spiking = {name for name, layer in program.layers.items() if layer.spiking}
    reasons: dict[str, str] = {}
    for name, layer in program.neurons.items():
        source = exact.neurons[name]
        if any(term.source not in spiking for term in layer.terms):
            reasons[name] = NUMBERS
            continue
        scale, why = scale_of(source)
        if why is None:
            quantise(layer, source, scale, torch.int32, _weights)
        else:
            reasons[name] = why
    require_some("int8", program, reasons)
    return program, reasons


def _weights(term: Term) -> torch.dtype:
    """A residual connection is no matrix product: its one weight a channel costs nothing in 32 bits."""
    return torch.int32 if isinstance(term, ScaleTerm) else torch.int8


def scale_of(layer: NeuronLayer) -> tuple[Tensor, str | None]:
    """What one threshold becomes in each channel, [C] int64; and why 8 bits are too few, or None."""
    channels = layer.shape[-1]
    matrices = [term for term in layer.terms if not isinstance(term, ScaleTerm)]
    narrow = torch.stack([largest(t, channels) for t in matrices] or [torch.zeros(channels)]).amax(0).double()
    parts = [_reach(term.weight.double().abs(), channels) for term in layer.terms]
    reach = torch.stack([*parts, *reaches(layer)]).sum(0)
    # a current and a potential stay within 32 bits
    scale = channel_scale(MOST, ((LARGEST_WEIGHT, narrow), (2.0 ** (VALUE_BITS - 1), reach)))
    worst = int(scale.argmin())
    if scale[worst] >= LEAST:
        return scale, None
    return scale, (
        f"8 bits are too few: weights of channel {worst} reach {float(narrow[worst]):.3g} thresholds, "
        f"which leaves {int(scale[worst])} steps to a threshold and needs {LEAST}"
    )


def _reach(weight: Tensor, channels: int) -> Tensor:
    """Largest sum of |weight| for each output channel, [C]."""
    return weight.expand(channels) if weight.ndim < 2 else weight.flatten(1).sum(1)


def to_half(program: Program, precision: str) -> tuple[Program, dict[str, str]]:
    """A float32 program with float16 or bfloat16 weights where layers read spikes; for the others, why not."""
    program, dtype = copy.deepcopy(program), HALVES[precision]
    spiking = {name for name, layer in program.layers.items() if layer.spiking}
    reasons: dict[str, str] = {}
    for name, layer in program.neurons.items():
        most = max(term.weight.abs().max().item() for term in layer.terms)
        if any(term.source not in spiking for term in layer.terms):
            reasons[name] = NUMBERS
        elif most > torch.finfo(dtype).max:
            reasons[name] = f"a weight of {most:.3g} thresholds is beyond {precision}"
        else:
            for term in layer.terms:
                if not isinstance(term, ScaleTerm):
                    term.weight = term.weight.to(dtype)
    return program, reasons
