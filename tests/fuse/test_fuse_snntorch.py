"""snnTorch's networks, fused: Leaky, Lapicque and Synaptic with their resets, chains in which something stays."""

import pytest
import torch
from steps import by_itself, livelier
from torch import nn

import fastsnn
from fastsnn.errors import ConversionError
from fastsnn.fuse.network import FusedNetwork

snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")


def leaky(**options) -> nn.Module:
    return snn.Leaky(init_hidden=True, **options)


CASES = {
    "leaky": lambda: leaky(beta=0.9),
    "integrating": lambda: leaky(beta=1.0, threshold=0.7),
    "zero": lambda: leaky(beta=0.8, reset_mechanism="zero"),
    "zero-at-once": lambda: leaky(beta=0.8, reset_mechanism="zero", reset_delay=False),
    "each-threshold": lambda: leaky(beta=0.9, threshold=torch.rand(8) + 0.5),
    "graded": lambda: leaky(beta=0.9, graded_spikes_factor=0.5),
    "synaptic": lambda: snn.Synaptic(alpha=0.7, beta=0.8, init_hidden=True),
    "lapicque": lambda: snn.Lapicque(beta=False, R=2.0, C=1.5, time_step=1.0, init_hidden=True),
}


def chain(neurons: nn.Module) -> nn.Module:
    layers = (nn.Conv2d(2, 4, 3), leaky(beta=0.9), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 8), neurons)
    return livelier(nn.Sequential(*layers, nn.Linear(8, 5), leaky(beta=0.9)), by=5.0)


def restarted(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if hasattr(module, "reset_mem"):
            module.reset_mem()
    return model


@pytest.mark.parametrize("name", CASES)
def test_each_neuron(name):
    model, x = chain(CASES[name]()), torch.rand(20, 3, 2, 10, 10, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    assert isinstance(fused, FusedNetwork)
    assert all(0 < train.firing_rate() < 1 for train in fused.spikes(x).values())
    assert torch.equal(fused(x), by_itself(restarted(model), x))


def test_a_last_layer_that_returns_its_potential_has_none():
    model = livelier(nn.Sequential(nn.Linear(6, 4), leaky(beta=0.9, output=True)))
    x = torch.rand(9, 2, 6, dtype=torch.float64)
    spikes, potential = fastsnn.fuse(model, x, precision="float64")(x)
    assert potential is None
    assert torch.equal(spikes, by_itself(lambda now: model(now)[0], x))


@pytest.mark.parametrize("layer", ["Alpha", "quantised", "none"])
def test_what_stays(layer):
    stays = {
        "Alpha": lambda: snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True),
        "quantised": lambda: leaky(beta=0.9, state_quant=lambda v: (v * 8).round() / 8),
        "none": lambda: leaky(beta=0.9, reset_mechanism="none"),
    }
    model, x = chain(stays[layer]()), torch.rand(20, 3, 2, 10, 10, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    assert torch.equal(fused(x), by_itself(restarted(model), x))
    assert torch.equal(fused(x), fused(x))
    (row,) = fused.report.stayed
    assert row.module == "5" and row.why


def test_a_network_with_states_as_arguments_is_refused():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 3), snn.Leaky(beta=0.9)

        def forward(self, x):
            spikes, mem = self.lif(self.fc(x), self.lif.reset_mem())
            return self.lif(spikes, mem)[0]

    with pytest.raises(ConversionError, match=r"lif .Leaky.: its state is an argument"):
        fastsnn.fuse(Net(), torch.rand(5, 2, 4))
