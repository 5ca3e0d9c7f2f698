"""What a layer's launch on a GPU computes and moves: what is counted is what is launched, and little above ideal."""

from dataclasses import replace
from importlib import import_module
from math import prod
from pathlib import Path

import pytest
import torch

import fastsnn
from fastsnn import _env, _gpu, _triton
from fastsnn.drive import Events
from fastsnn.prepared import Prepared
from fastsnn.testing.cases import random_words

pytestmark = pytest.mark.skipif(
    _triton.reason() is not None or not _env.TRITON_INTERPRET, reason="needs interpreted kernels"
)

if _triton.reason() is None:
    from fastsnn.ops import _layer_kernel, _taps_kernel
    from fastsnn.ops._layer_triton import TritonPlan
    from fastsnn.ops._tiles import Tile
    from fastsnn.ops._work import work

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
BATCH, T, H200 = 256, 16, 132
WITHIN = 1.1
I8, I16, I32, F16 = torch.int8, torch.int16, torch.int32, torch.float16

# of a layer: (channels, outputs, kernel, groups) of its inputs, dtype, tile, steps
LAYERS = {
    "one": ([(20, 40, 3, 1)], I8, (128, 32, 64, 4), 5),
    "tails": ([(33, 17, 2, 1)], F16, (256, 16, 64, 4), 9),
    "parts": ([(20, 40, 3, 1)], F16, (128, 32, 32, 4, 3, 4), 5),
    "planes": ([(20, 40, 3, 1)], I16, (128, 32, 128, 4), 3),
    "groups": ([(12, 20, 3, 4)], I8, (128, 16, 64, 4), 5),
    "identity": ([(20, 40, 3, 1), (40, 40, 1, 40)], I8, (128, 32, 64, 4), 5),
    "identity in parts": ([(20, 40, 3, 1), (40, 40, 1, 40)], I8, (128, 32, 64, 4, 3, 2), 5),
    "projection": ([(20, 40, 3, 1), (7, 40, 1, 1)], I8, (128, 64, 64, 4), 5),
    "depthwise": ([(12, 24, 3, 12)], I32, None, 5),
}


def plan_of(inputs, dtype, tile=None, size=4):
    """Convolutions of [B, size, size, C] with padding, all of one output's size."""
    outputs = inputs[0][1]
    weights = [torch.randint(-3, 4, (o, c // groups, k, k)).to(dtype) for c, o, k, groups in inputs]
    padded = [kernel // 2 for _, _, kernel, _ in inputs]
    out = size + 2 * padded[0] - inputs[0][2] + 1
    sizes = [(size, size, c) if k > 1 else (out, out, c) for c, _, k, _ in inputs]
    values = torch.float32 if dtype.is_floating_point else I16 if dtype == I16 else I32
    number = torch.tensor(9).to(values)
    ones = [1] * (2 * len(inputs))
    return TritonPlan(
        sizes, weights, (1, out, out, outputs), number, number * 0, None, ones, [n for n in padded for _ in range(2)],
        ones, [groups for *_, groups in inputs], "soft", ">=", tile=Tile(*tile) if tile else None,
    ), sizes  # fmt: skip


class Recorder:
    """Stands in for a kernel: what it is launched with, after which it runs as ever."""

    def __init__(self, kernel, found):
        self.kernel, self.found = kernel, found

    def __getitem__(self, grid):
        def launch(*args, **constants):
            self.found.append((grid, args, constants))
            return self.kernel[grid](*args, **constants)

        return launch


@pytest.fixture
def launched(monkeypatch):
    """(launches: grid, arguments, constants; shapes [M, K] and [K, N] of every matrix product that was computed)."""
    from triton.runtime.interpreter import InterpreterBuilder

    launches, dots = [], []
    dot = InterpreterBuilder.create_dot

    def counted(self, a, b, *rest):
        dots.append((a.data.shape, b.data.shape))
        return dot(self, a, b, *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", counted)
    monkeypatch.setattr(_layer_kernel, "layer", Recorder(_layer_kernel.layer, launches))
    monkeypatch.setattr(_taps_kernel, "neurons", Recorder(_taps_kernel.neurons, launches))
    return launches, dots


@pytest.mark.parametrize("name", LAYERS)
def test_the_work_is_that_of_the_launches(launched, name):
    inputs, dtype, tile, steps = LAYERS[name]
    plan, sizes = plan_of(inputs, dtype, tile)
    words = [random_words(torch.Generator().manual_seed(0), (3, *size), steps) for size in sizes]
    out, after = plan(words, steps)
    launches, dots = launched
    # the last launch is the one with the neurons
    grid, _, constants = launches[-1]
    looked = len(constants["TAPS"]) * prod(grid) * constants["P"] * constants["N"] * steps
    multiplied = sum(m * k * n for (m, k), (_, n) in dots)
    moved = [*words, out, after, *(p.weight for p in (*plan.products, *plan.looks))]
    if len(launches) > 1:
        # sums are written by one launch and read by the other
        moved += [launches[1][1][0]] * 2
    found = work(plan, 3, steps, keep=True)
    assert found.operations == 2 * (multiplied + looked)
    assert found.bytes == sum(x.numel() * x.element_size() for x in moved)
    assert work(plan, 3, steps) == replace(found, bytes=found.bytes - after.numel() * after.element_size())


@pytest.fixture(scope="module")
def layers():
    """Of a network, its layers that read spikes: (driver, weights) by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        networks = import_module("networks")
        found = {}
        for name in ("resnet18", "vgg16"):
            # only shapes count: neither weights that fire at some rate, nor photographs
            model = networks.RANDOM[name]().eval()
            snn = fastsnn.convert(model, torch.randn(1, 3, 32, 32), timesteps=1, precision="float16")
            drivers = Prepared(snn.program).drivers
            found[name] = {layer: driver for layer, driver in drivers.items() if isinstance(driver, Events)}
        return found


def ideal(plan, weights):
    """(operations, bytes) without any padding: each weight counts once, those of a pooling in front together."""
    neurons = BATCH * prod(plan.out) * plan.shape[-1]
    summed = sum(p.length for p in plan.products) + len(plan.looks)
    inputs = {p.source: (*p.geometry[2:5], p.geometry[0] * plan.groups) for p in plan.products}
    inputs |= {look.source: (*look.geometry[1:4], plan.shape[-1]) for look in plan.looks}
    moved = T / 8 * (neurons + BATCH * sum(map(prod, inputs.values())))
    return 2 * T * neurons * summed, moved + summed * plan.shape[-1] * weights.itemsize


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [I8, F16], ids=str)
@pytest.mark.parametrize("name, count", [("resnet18", 16), ("vgg16", 12)])
def test_layers_of_networks_do_little_more_than_what_is_needed(layers, monkeypatch, tmp_path, name, count, dtype):
    monkeypatch.setattr(_gpu, "processors", lambda device: H200)
    monkeypatch.setattr(_env, "CACHE", str(tmp_path))
    assert len(layers[name]) == count
    found = {}
    for layer, driver in layers[name].items():
        given = driver._layer()
        values = I32 if dtype == I8 else torch.float32
        scale = 100 if dtype == I8 else 1
        given["weights"] = [(weight.float() * scale).to(dtype) for weight in given["weights"]]
        given |= {kind: given[kind].to(values) for kind in ("threshold", "v", "bias")}
        plan = TritonPlan(**given)
        operations, moved = ideal(plan, dtype)
        counted = work(plan, BATCH, T)
        found[layer] = counted.operations / operations, counted.bytes / moved
    assert {k: x for k, x in found.items() if not (1 <= min(x) and max(x) <= WITHIN)} == {}
