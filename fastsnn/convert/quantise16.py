"""Sixteen-bit fixed point: how large a number one threshold may be in each channel, and which layers stay int32.

A membrane potential must stay within 16 bits at the test, and a current within half of that, because a potential that
is inhibited for long saturates at -2^14 and a current comes on top. What both reach is measured on calibration images
with the int32 network, and half of the room is kept for images that reach further.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from fastsnn.emission import emitted
from fastsnn.engine import Simulation
from fastsnn.errors import ConversionError
from fastsnn.parts import images_at_once
from fastsnn.prepared import Prepared
from fastsnn.program import NeuronLayer, Program, Term

# weights of about 12 bits
MOST = 4096
# fewer steps to a threshold than this, and rounding would decide too many spikes
LEAST = 128
POTENTIAL, CURRENT, LARGEST = 2**14, 2**13, 2**15 - 1
IMAGES = 16
NUMBERS = "reads numbers that are not spikes"


@dataclass
class Range:
    """What one layer reaches, in thresholds, per channel [C]: potentials before the reset, and currents either way."""

    potential: Tensor
    current: Tensor


@torch.inference_mode()
def measure(program: Program, samples: Tensor, T: int, progress: bool = False) -> dict[str, Range]:
    """Ranges of all neuron layers of an int32 program with soft reset over T steps on sample images [N, C, *S].

    progress  shows how far it is
    """
    kept = {name: layer.neuron for name, layer in program.neurons.items()}
    names = [name for name, neuron in kept.items() if neuron.reset == "soft" and not neuron.waits]
    ranges: dict[str, Range] = {}
    if not names:
        return ranges
    prepared = Prepared(program)
    parts = samples.split(max(images_at_once(prepared, min(IMAGES, len(samples)), T), 1))
    for images in tqdm(parts, desc="measure", unit="batch", disable=not progress):
        simulation = Simulation(program, images, prepared)
        before = {name: program.neurons[name].initial_potential for name in names}
        for _ in range(T):
            # a step at a time: what the neuron had before it fired is what it has plus a threshold where it did
            words, _ = simulation.advance(1, names)
            for name in names:
                layer, after = program.neurons[name], simulation.potential[name]
                if after is None:
                    raise TypeError(f"no potentials of {name} were kept")
                after = after[0] if layer.neuron.firing.counted else after
                # in one place: to have new memory for each takes longer than to compute it
                peak = emitted(words[name], layer.amplitudes, 0).mul_(layer.threshold).add_(after)
                potential = _flat(peak).amax(0).clamp(min=0)
                change = _flat(peak.sub_(before[name]))
                current = torch.maximum(change.amax(0), change.neg_().amax(0))
                seen = [most.double() / layer.threshold.double() for most in (potential, current)]
                known = ranges.get(name)
                ranges[name] = Range(*seen if known is None else map(torch.maximum, seen, vars(known).values()))
                before[name] = after
    return ranges


def _flat(values: Tensor) -> Tensor:
    """[..., C] -> [N, C]."""
    return values.reshape(-1, values.shape[-1])


def to_int16(exact: Program, program: Program, ranges: dict[str, Range]) -> tuple[Program, dict[str, str]]:
    """An int32 program with the layers that allow it in 16 bits, and for the others the reason why not.

    exact  the same program in float64, which weights are rounded from

    Raises ConversionError with all reasons where no layer allows it.
    """
    program = copy.deepcopy(program)
    spiking = {name for name, layer in program.layers.items() if layer.spiking}
    reasons: dict[str, str] = {}
    for name, layer in program.neurons.items():
        source = exact.neurons[name]
        if layer.neuron.reset != "soft":
            reasons[name] = "hard reset"
        elif layer.neuron.firing.gains(1) is not None:
            reasons[name] = "potentials that leak or grow need more than 16 bits"
        elif layer.neuron.waits:
            reasons[name] = "neurons that know all of their input need more than 16 bits"
        elif any(term.source not in spiking for term in layer.terms):
            reasons[name] = NUMBERS
        else:
            scale, why = scale_of(source, ranges[name])
            if why is None:
                quantise(layer, source, scale, torch.int16, lambda term: torch.int16)
            else:
                reasons[name] = why
    require_some("int16", program, reasons)
    return program, reasons


def require_some(precision: str, program: Program, reasons: dict[str, str]) -> None:
    """Raises ConversionError with the reasons where every neuron layer has one against a precision."""
    if len(reasons) == len(program.neurons):
        named = {why: [name for name, own in reasons.items() if own == why] for why in reasons.values()}
        listed = "; ".join(f"{', '.join(names)}: {why}" for why, names in named.items())
        raise ConversionError(f'precision "{precision}" fits none of the layers: {listed}')


def scale_of(layer: NeuronLayer, reached: Range) -> tuple[Tensor, str | None]:
    """What one threshold becomes in each channel, [C] int64; and why 16 bits are too few, or None."""
    channels = layer.shape[-1]
    weights = torch.stack([largest(term, channels) for term in layer.terms]).amax(0)
    fixed = torch.stack(reaches(layer)).amax(0)
    rooms = ((POTENTIAL, reached.potential), (CURRENT, reached.current), (LARGEST, torch.maximum(weights, fixed)))
    scale = channel_scale(MOST, rooms)
    worst = int(scale.argmin())
    if scale[worst] >= LEAST:
        return scale, None
    names = ("potentials", "currents", "weights")
    tightest = min(range(3), key=lambda i: float(rooms[i][0] / rooms[i][1][worst].clamp(min=1e-30)))
    reached_there = float(rooms[tightest][1][worst])
    return scale, (
        f"16 bits would overflow: {names[tightest]} of channel {worst} reach {reached_there:.3g} thresholds, "
        f"which leaves {int(scale[worst])} steps to a threshold and needs {LEAST}"
    )


def channel_scale(most: float, rooms: Sequence[tuple[float, Tensor]]) -> Tensor:
    """The largest scale [C] int64 with which each value [C] fits its room; even, so that half a threshold is whole."""
    scale = torch.tensor(float(most), dtype=torch.float64)
    for room, value in rooms:
        scale = torch.minimum(scale, room / value.double().cpu().clamp(min=1e-30))
    return 2 * (scale / 2).floor().long()


def largest(term: Term, channels: int) -> Tensor:
    """Largest |weight| for each output channel, [C]."""
    weight = term.weight.double().abs()
    return weight.expand(channels) if weight.ndim < 2 else weight.flatten(1).amax(1)


def reaches(layer: NeuronLayer) -> list[Tensor]:
    """Largest |bias|, |V(0)| and, where there is a schedule, |number in it| of each channel, [C] each."""
    channels = layer.shape[-1]
    flat = [x.expand(*layer.shape).reshape(-1, channels) for x in (layer.bias, layer.initial_potential)]
    flat += [] if layer.schedule is None else [layer.schedule]
    return [x.double().abs().amax(0) for x in flat]


def quantise(
    layer: NeuronLayer,
    source: NeuronLayer,
    scale: Tensor,
    dtype: torch.dtype,
    weights: Callable[[Term], torch.dtype],
) -> None:
    """Gives a layer the numbers of the same layer in float64 as multiples of 1 / scale.

    scale    [C] what one threshold becomes
    dtype    of bias, schedule, threshold and V(0);  weights gives that of the weights of a term
    """
    scale = scale.to(layer.bias.device).double()

    def fixed(values: Tensor, by: Tensor = scale, kind: torch.dtype = dtype) -> Tensor:
        return (values.to(scale.device).double() * by).round().to(kind)

    for term, exact in zip(layer.terms, source.terms, strict=True):
        by = scale if exact.weight.ndim < 2 else scale.reshape(-1, *[1] * (exact.weight.ndim - 1))
        term.weight = fixed(exact.weight, by, weights(term))
    layer.bias = fixed(source.bias)
    layer.schedule = None if source.schedule is None else fixed(source.schedule)
    layer.initial_potential = fixed(source.initial_potential)
    layer.threshold = fixed(torch.ones((), dtype=torch.float64))
