"""Norse's networks, fused: cells with and without a synaptic current, what stays in a chain."""

import pytest
import torch
from steps import livelier
from torch import nn

import fastsnn
from fastsnn.fuse.network import FusedNetwork

norse = pytest.importorskip("norse.torch", reason="Norse is not installed")
lif_box = pytest.importorskip("norse.torch.functional.lif_box")
resets = pytest.importorskip("norse.torch.functional.reset")


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


CELLS = {
    "iaf": lambda: norse.IAFCell(),
    "iaf-reset": lambda: norse.IAFCell(norse.IAFParameters(v_th=number(0.8), v_reset=number(-0.2))),
    "box": lambda: norse.LIFBoxCell(lif_box.LIFBoxParameters(v_leak=number(0.1), v_reset=number(-0.1))),
    "box-subtract": lambda: norse.LIFBoxCell(lif_box.LIFBoxParameters(reset_method=resets.reset_subtract)),
    "lif": lambda: norse.LIFCell(),
    "lif-leak": lambda: norse.LIFCell(norse.LIFParameters(v_leak=number(0.2), v_reset=number(-0.1))),
}


def chain(cell: nn.Module, *more: nn.Module) -> nn.Module:
    layers = (nn.Conv2d(2, 4, 3), cell, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 8), norse.LIFBoxCell())
    return livelier(norse.SequentialState(*layers, *more), by=12.0)


def by_itself(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    state, outputs = None, []
    with torch.no_grad():
        for now in x:
            out, state = model(now, state)
            outputs.append(out)
    return torch.stack(outputs)


@pytest.mark.parametrize("name", CELLS)
def test_each_cell(name):
    model, x = chain(CELLS[name]()), torch.rand(30, 3, 2, 10, 10, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    assert isinstance(fused, FusedNetwork)
    assert all(0 < train.firing_rate() < 1 for train in fused.spikes(x).values())
    assert torch.equal(fused(x)[0], by_itself(model, x))


INTEGRATORS = {
    "li": lambda: norse.LICell(),
    "li-leak": lambda: norse.LICell(norse.LIParameters(v_leak=number(0.3))),
    "li-box": lambda: norse.LIBoxCell(),
}


@pytest.mark.parametrize("name", INTEGRATORS)
def test_an_integrator_at_the_end(name, tmp_path):
    model = chain(norse.LIFCell(), nn.Linear(8, 3), INTEGRATORS[name]())
    x = torch.rand(70, 3, 2, 10, 10, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    assert isinstance(fused, FusedNetwork) and fused.report.stayed == ()
    found, wanted = fused(x)[0], by_itself(model, x)
    # behind spikes that are equal: sums of 8 weights, in another order
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12) and wanted.abs().max() > 0.1
    (first, _), state = fused.run(x[:40])
    (second, _), _ = fused.run(x[40:], state)
    assert torch.equal(torch.cat([first, second]), found)
    assert torch.equal(fastsnn.load(fused.save(tmp_path / "net.safetensors"))(x)[0], found)


def test_an_integrator_of_an_image_that_is_held():
    model = livelier(norse.SequentialState(nn.Linear(6, 4), norse.LIBoxCell(), nn.Linear(4, 3), norse.LICell()))
    x = torch.rand(2, 6, dtype=torch.float64).expand(9, 2, 6)
    model_with_neurons = norse.SequentialState(*model, norse.LIFBoxCell())
    fused = fastsnn.fuse(model_with_neurons, x, precision="float64")
    assert torch.equal(fused(x[0], timesteps=9)[0], by_itself(model_with_neurons, x))


def test_what_stays_at_the_end():
    model = chain(norse.LIFCell(), nn.Linear(8, 3), norse.LIFAdExCell())
    x = torch.rand(9, 3, 2, 10, 10, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    assert torch.equal(fused(x), by_itself(model, x))
    (row,) = fused.report.stayed
    assert (row.module, row.kind) == ("7", "LIFAdExCell") and "more than a potential" in row.why
