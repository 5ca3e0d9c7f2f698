"""What becomes of a schedule in each precision: the room that it takes, how it is rounded, what runs with it."""

import copy
import math

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.convert.mismatch import mismatch
from fastsnn.convert.narrow import to_half, to_int8
from fastsnn.convert.quantise import to_precision
from fastsnn.convert.quantise16 import measure, to_int16
from fastsnn.engine import Simulation

STEPS = 12


@pytest.fixture(scope="module")
def x():
    return torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def bare(x):
    """A float64 program whose layers read the image, spikes, and spikes."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 9, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)
    model = nn.Sequential(*layers, nn.Conv2d(9, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 4)).eval()
    return fastsnn.convert(model, x, precision="float64", timesteps=STEPS).program


@pytest.fixture
def program(bare):
    g = torch.Generator().manual_seed(2)
    program = copy.deepcopy(bare)
    for layer in program.neurons.values():
        layer.schedule = 0.6 * torch.rand(STEPS, layer.shape[-1], generator=g, dtype=torch.float64) - 0.3
    return program


def fixed(program, x):
    return to_precision(program, "int32", {program.input.name: float(x.abs().max())})


def spikes(program, x):
    """[T, B, *S, C] of every neuron layer."""
    with torch.inference_mode():
        words, _ = Simulation(program, x).advance(STEPS, program.neurons)
    return {name: torch.stack([(word >> t) & 1 for t in range(STEPS)]).bool() for name, word in words.items()}


def test_int32_rounds_it_to_fractions_of_a_threshold(program, x):
    for name, layer in fixed(program, x).neurons.items():
        exact = program.neurons[name].schedule
        assert layer.schedule.dtype == torch.int32 and layer.threshold >= 2**20
        assert torch.equal(layer.schedule, (exact * layer.threshold).round().int())


@pytest.mark.parametrize("largest", [-1000.0, 70.0])
def test_int32_makes_room_for_it(program, bare, x, largest):
    second = list(program.neurons)[1]
    layer = program.neurons[second]
    layer.schedule[7, 3] = largest
    reach = abs(largest) + layer.bias.abs().max().item() + layer.terms[0].reach()
    bits = math.floor(29.5 - math.log2(reach))
    found = fixed(program, x).neurons[second]
    assert bits < 24 and found.threshold == 2**bits and fixed(bare, x).neurons[second].threshold == 2**24
    assert torch.equal(found.schedule, (layer.schedule * 2.0**bits).round().int())
    # a current with all that is added to it
    rows = found.schedule.long() + found.bias.long()
    assert rows.abs().max() + found.terms[0].reach() < 2**30


def test_int16_scales_it_with_its_channel(program, x):
    wide = fixed(program, x)
    final, reasons = to_int16(program, wide, measure(wide, x, STEPS))
    first, second, third = final.neurons.items()
    assert list(reasons) == [first[0]] and first[1].schedule.dtype == torch.int32
    for name, layer in (second, third):
        assert layer.schedule.dtype == torch.int16
        assert torch.equal(layer.schedule, (program.neurons[name].schedule * layer.threshold).round().short())


def test_int16_keeps_it_within_16_bits(program, x):
    wide = fixed(program, x)
    ranges = measure(wide, x, STEPS)
    second = list(program.neurons)[1]
    program.neurons[second].schedule[:, 4] = -20.0
    final, _ = to_int16(program, wide, ranges)
    # ranges of another schedule, so that only the room for the number itself counts
    assert final.neurons[second].threshold[4] == 2 * int((2**15 - 1) / 20 / 2)
    assert final.neurons[second].schedule[:, 4].eq(-20 * final.neurons[second].threshold[4]).all()
    program.neurons[second].schedule[:, 4] = 300.0
    _, reasons = to_int16(program, wide, ranges)
    assert "channel 4 reach 300 thresholds" in reasons[second]


def test_what_16_bits_reach_is_measured_with_it(program, x):
    second = list(program.neurons)[1]
    before = measure(fixed(program, x), x, STEPS)[second]
    program.neurons[second].schedule[5, 2] += 6.0
    after = measure(fixed(program, x), x, STEPS)[second]
    assert after.current[2] > 5.5 > before.current[2] and after.potential[2] > before.potential[2] + 3
    others = torch.arange(len(before.current)) != 2
    assert torch.equal(after.current[others], before.current[others])


def test_int8_scales_it_with_its_channel_and_makes_room_for_it(program, x):
    second = list(program.neurons)[1]
    program.neurons[second].schedule[3, 1] = 2.0**23
    final, reasons = to_int8(program, fixed(program, x))
    layer, exact = final.neurons[second], program.neurons[second]
    assert second not in reasons and layer.schedule.dtype == torch.int32
    assert torch.equal(layer.schedule, (exact.schedule * layer.threshold).round().int())
    reach = exact.terms[0].weight[1].abs().sum() + exact.bias.reshape(-1, 9)[:, 1].abs().max() + 0.5 + 2.0**23
    assert layer.threshold[1] == 2 * int(2**29 / reach / 2)


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16", "float64"])
def test_floating_point_keeps_it_as_wide_as_the_bias(program, x, precision):
    dtype = torch.float64 if precision == "float64" else torch.float32
    final = to_precision(program, precision, {})
    if precision.endswith("16"):
        final, _ = to_half(final, precision)
    for name, layer in final.neurons.items():
        assert layer.schedule.dtype == layer.bias.dtype == dtype
        assert torch.equal(layer.schedule, program.neurons[name].schedule.to(dtype))


def test_every_precision_runs_with_it_and_rounding_changes_little(program, bare, x):
    exact, without = spikes(program, x.double()), spikes(bare, x.double())
    unrounded, wide = to_precision(program, "float32", {}), fixed(program, x)
    made = {"int32": wide, "int16": to_int16(program, wide, measure(wide, x, STEPS))[0]}
    made |= {"int8": to_int8(program, wide)[0], "float16": to_half(unrounded, "float16")[0], "float32": unrounded}
    for precision, final in made.items():
        got = spikes(final, x)
        for name in exact:
            # less than a third of what the schedule changes
            most = (exact[name] != without[name]).double().mean() / 3
            assert 0.02 < most and (got[name] != exact[name]).double().mean() < most, (precision, name)
        differ = mismatch(final, unrounded, x, STEPS)
        assert all(share < 0.05 for share in differ.values())
