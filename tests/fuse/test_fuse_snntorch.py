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


class Static(nn.Module):
    """As in the library's tutorials: states are arguments, the loop is in forward, the image the same at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(16, 12), snn.Leaky(beta=0.95)
        self.fc2, self.lif2 = nn.Linear(12, 5), snn.Leaky(beta=0.95)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, potentials = [], []
        for _ in range(12):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            potentials.append(mem2)
        return torch.stack(spikes), torch.stack(potentials)


class Sequence(nn.Module):
    """A sequence, read step by step, functions in between, and a sum behind the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif1 = nn.Conv2d(1, 4, 3), snn.Synaptic(alpha=0.8, beta=0.9)
        self.fc, self.lif2 = nn.Linear(36, 5), snn.Leaky(beta=0.8, reset_mechanism="zero")

    def forward(self, x):
        syn, mem1 = self.lif1.reset_mem()
        mem2, spikes = self.lif2.reset_mem(), []
        for now in range(x.size(0)):
            current = nn.functional.max_pool2d(self.conv(x[now]), 2)
            spk, syn, mem1 = self.lif1(current, syn, mem1)
            spk, mem2 = self.lif2(self.fc(spk.flatten(1)), mem2)
            spikes.append(spk)
        return torch.stack(spikes).sum(0) / x.size(0)


def test_loops_over_an_image():
    model, x = livelier(Static(), by=5.0), torch.rand(6, 16, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    with torch.no_grad():
        wanted, _ = model(x)
    spikes, potentials = fused(x)
    assert 0 < wanted.mean() < 1 and potentials is None
    assert torch.equal(spikes, wanted)
    assert torch.equal(fused(x[:2])[0], wanted[:, :2]), "any batch"
    assert fused.report.stayed == ()


def test_loops_over_a_sequence():
    model, x = livelier(Sequence(), by=5.0), torch.rand(10, 3, 1, 8, 8, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    with torch.no_grad():
        wanted = model(x)
    assert 0 < wanted.mean() < 1
    assert torch.equal(fused(x), wanted)
    with pytest.raises(ValueError, match="fused for 10 steps, got a sequence of 4"):
        fused(x[:4])


class Feedback(Static):
    def forward(self, x):
        mem, spk = self.lif1.init_leaky(), torch.zeros(len(x), 12, dtype=x.dtype)
        for _ in range(3):
            spk, mem = self.lif1(self.fc1(x) + spk, mem)
        return spk


class Uneven(Static):
    def forward(self, x):
        mem, spikes = self.lif1.init_leaky(), []
        for t in range(3):
            spk, mem = self.lif1(self.fc1(x) * (t + 1), mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Driving(Static):
    def forward(self, x):
        mem1, mem2, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for _ in range(3):
            _, mem1 = self.lif1(self.fc1(x), mem1)
            spk, mem2 = self.lif2(self.fc2(mem1), mem2)
            spikes.append(spk)
        return torch.stack(spikes)


@pytest.mark.parametrize(
    "network, message",
    [
        (Feedback, "reads what another step has computed"),
        (Uneven, "step 1 of its loop computes something else than step 0"),
        (Driving, "a potential is more than the state"),
    ],
)
def test_loops_that_are_refused(network, message):
    with pytest.raises(ConversionError, match=message):
        fastsnn.fuse(network().eval(), torch.rand(6, 16))
