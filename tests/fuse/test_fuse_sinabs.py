"""sinabs' networks, fused: squeezed layers, one or more spikes a step, leaks, synapses, what stays."""

from functools import partial

import pytest
import torch
from steps import livelier
from torch import nn

import fastsnn
from fastsnn.errors import ConversionError

layers = pytest.importorskip("sinabs.layers", reason="sinabs is not installed")
activation = pytest.importorskip("sinabs.activation")

BATCH, T = 3, 20
single = {"spike_fn": activation.SingleSpike}
CASES = {
    "iaf-many": layers.IAFSqueeze,
    "iaf": partial(layers.IAFSqueeze, **single),
    "iaf-three": partial(layers.IAFSqueeze, spike_fn=activation.MaxSpike(3)),
    "iaf-reset": partial(layers.IAFSqueeze, reset_fn=activation.MembraneReset(), **single),
    "lif": partial(layers.LIFSqueeze, tau_mem=8.0, **single),
    "lif-many": partial(layers.LIFSqueeze, tau_mem=8.0, norm_input=False),
    "lif-synapse": partial(layers.LIFSqueeze, tau_mem=8.0, tau_syn=4.0, **single),
    "lif-less": partial(layers.LIFSqueeze, tau_mem=8.0, reset_fn=activation.MembraneSubtract(0.5), **single),
}


def network(neurons, by: float = 3.0) -> nn.Module:
    first, last = (neurons(batch_size=BATCH) for _ in range(2))
    chain = (nn.Conv2d(2, 4, 3), first, layers.SumPool2d(2), nn.Flatten(), nn.Linear(64, 8), last)
    return livelier(nn.Sequential(*chain), by=by)


def by_itself(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(x.transpose(0, 1).flatten(0, 1)).unflatten(0, (BATCH, T)).transpose(0, 1)


@pytest.mark.parametrize("name", CASES)
def test_each_neuron(name):
    model, x = (
        network(CASES[name], by=3.0 if "many" in name else 9.0),
        torch.rand(T, BATCH, 2, 10, 10, dtype=torch.float64),
    )
    fused = fastsnn.fuse(model, x, precision="float64")
    wanted = by_itself(model, x)
    assert wanted.any() and (wanted == 0).any()
    assert "many" not in name or wanted.max() > 1
    assert torch.equal(fused(x), wanted)


@pytest.mark.parametrize("normed", [False, True])
def test_an_integrator_at_the_end(normed):
    spiking = network(CASES["lif"], by=9.0)
    end = layers.ExpLeakSqueeze(batch_size=BATCH, tau_mem=5.0, norm_input=normed)
    model = livelier(nn.Sequential(*spiking, nn.Linear(8, 3), end), by=1.0)
    x = torch.rand(T, BATCH, 2, 10, 10, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    wanted = by_itself(model, x)
    assert fused.report.stayed == () and wanted.abs().max() > 0.1
    # behind spikes that are equal: sums of 8 weights, in another order
    assert torch.allclose(fused(x), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "neurons, message",
    [
        (partial(layers.IAFSqueeze, min_v_mem=-1.0, **single), "a lower bound, min_v_mem"),
        (partial(layers.IAFSqueeze, reset_fn=activation.MembraneReset(0.1), **single), "added at every step"),
        (partial(layers.IAFSqueeze, reset_fn=activation.MembraneReset()), "several spikes a step need"),
    ],
)
def test_what_is_refused(neurons, message):
    with pytest.raises(ConversionError, match=message):
        fastsnn.fuse(network(neurons), torch.rand(T, BATCH, 2, 10, 10, dtype=torch.float64))


@pytest.mark.parametrize("kind", [layers.IAF, partial(layers.IAFSqueeze, batch_size=BATCH)], ids=["plain", "squeezed"])
def test_a_layer_that_stays_in_a_chain(kind):
    stays = kind(min_v_mem=-1.0, **single)
    chain = (nn.Linear(6, 8), layers.IAFSqueeze(batch_size=BATCH, **single), nn.Linear(8, 5), stays, nn.Linear(5, 3))
    model = livelier(nn.Sequential(*chain, layers.IAFSqueeze(batch_size=BATCH, **single)), by=3.0)
    x = torch.rand(T, BATCH, 6, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    assert [row.module for row in fused.report.stayed] == ["3"]
    first, second = fused(x), fused(x)
    assert torch.equal(first, second) and first.shape == (T, BATCH, 3)
    if hasattr(stays, "squeeze_forward"):
        assert torch.equal(first, by_itself(model, x))
