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


SHOWING = {
    "subtract": lambda: leaky(beta=0.9, output=True),
    "zero": lambda: leaky(beta=0.8, reset_mechanism="zero", output=True),
    "zero-at-once": lambda: leaky(beta=0.8, reset_mechanism="zero", reset_delay=False, output=True),
    "each-threshold": lambda: leaky(beta=0.9, threshold=torch.rand(4) + 0.5, output=True),
    "synaptic": lambda: snn.Synaptic(alpha=0.7, beta=0.8, init_hidden=True, output=True),
    "lapicque": lambda: snn.Lapicque(beta=False, R=2.0, C=1.5, time_step=1.0, init_hidden=True, output=True),
}


@pytest.mark.parametrize("name", SHOWING)
def test_a_last_layer_returns_its_state(name, tmp_path):
    model = livelier(nn.Sequential(nn.Linear(6, 8), leaky(beta=0.9), nn.Linear(8, 4), SHOWING[name]()))
    x = torch.rand(70, 2, 6, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    wanted = [by_itself(lambda now, i=i: restarting(model, now, x)[i], x) for i in range(len(fused(x)))]
    found = fused(x)
    assert torch.equal(found[0], wanted[0]) and 0 < wanted[0].mean() < 1
    for ours, theirs in zip(found[1:], wanted[1:], strict=True):
        close(ours, theirs)
    # in two runs, and from a file
    first, state = fused.run(x[:13])
    second, _ = fastsnn.load(fused.save(tmp_path / "net.safetensors")).run(x)
    rest, _ = fused.run(x[13:], state)
    for a, b, whole, again in zip(first, rest, found, second, strict=True):
        assert torch.equal(torch.cat([a, b]), whole) and torch.equal(again, whole)


def restarting(model: nn.Module, now: torch.Tensor, x: torch.Tensor) -> tuple:
    """A step, the first of a sequence from the reset state."""
    if now.data_ptr() == x.data_ptr():
        restarted(model)
    return model(now)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Behind spikes that are equal: sums of 12 weights below 10 over some ten steps, in another order."""
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-11)


def test_what_is_close_can_fail():
    with pytest.raises(AssertionError):
        close(torch.zeros(2), torch.full((2,), 1e-6))
    with pytest.raises(AssertionError):
        close(torch.zeros(2), torch.zeros(3))


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
            spk, syn, mem1 = self.lif1(current, mem=mem1, syn=syn)
            spk, mem2 = self.lif2(self.fc(spk.flatten(1)), mem2)
            spikes.append(spk)
        return torch.stack(spikes).sum(0) / x.size(0)


def test_loops_over_an_image():
    model, x = livelier(Static(), by=5.0), torch.rand(6, 16, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    with torch.no_grad():
        wanted, potential = model(x)
    spikes, potentials = fused(x)
    assert 0 < wanted.mean() < 1
    assert torch.equal(spikes, wanted)
    close(potentials, potential)
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


class Changed(Static):
    def forward(self, x):
        mem, spikes = self.lif1.init_leaky(), []
        for _ in range(3):
            spk, mem = self.lif1(self.fc1(x), mem)
            mem = mem * 0.5
            spikes.append(spk)
        return torch.stack(spikes)


class Mistaken(Static):
    def forward(self, x):
        mem1, mem2, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for _ in range(3):
            spk, mem1 = self.lif1(self.fc1(x), mem2)
            spk, mem2 = self.lif2(self.fc2(spk), mem1)
            spikes.append(spk)
        return torch.stack(spikes)


class Swapped(Static):
    def __init__(self) -> None:
        super().__init__()
        self.lif1 = snn.Synaptic(alpha=0.5, beta=0.9)

    def forward(self, x):
        (syn, mem), spikes = self.lif1.reset_mem(), []
        for _ in range(3):
            spk, mem, syn = self.lif1(self.fc1(x), syn, mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Forgetful(Static):
    def forward(self, x):
        spikes = []
        for _ in range(3):
            spk, _ = self.lif1(self.fc1(x), self.lif1.init_leaky())
            spikes.append(spk)
        return torch.stack(spikes)


class Charged(Static):
    def forward(self, x):
        mem, spikes = torch.ones(len(x), 12, dtype=x.dtype), []
        for _ in range(3):
            spk, mem = self.lif1(self.fc1(x), mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Filtered(Static):
    """A potential that drives others, beside a first state of one's own and one that is only handed on."""

    def forward(self, x):
        mem1, mem2, spikes = torch.zeros(len(x), 12, dtype=x.dtype), self.lif2.init_leaky(), []
        for _ in range(8):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk, mem2 = self.lif2(self.fc2(spk1 + 0.1 * mem1), mem2)
            mem1 = mem1.detach()
            spikes.append(spk)
        return torch.stack(spikes)


class Regression(nn.Module):
    """What is read is the potential of neurons without a reset, and what became of the others' at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif = nn.Linear(16, 12), snn.Synaptic(alpha=0.7, beta=0.9)
        self.fc2, self.out = nn.Linear(12, 3), snn.Leaky(beta=0.8, reset_mechanism="none")

    def forward(self, x):
        (syn, mem), out = self.lif.reset_mem(), self.out.reset_mem()
        outputs = []
        for now in x:
            spk, syn, mem = self.lif(self.fc1(now), syn, mem)
            _, out = self.out(self.fc2(spk), out)
            outputs.append(2 * out)
        return {"read": torch.stack(outputs), "last": (syn, mem, out), "largest": torch.stack(outputs).amax(0)}


class Unreset(Regression):
    def forward(self, x):
        out, spikes = self.out.reset_mem(), []
        for now in x:
            spk, out = self.out(self.fc2(self.fc1(now)), out)
            spikes.append(spk)
        return torch.stack(spikes)


def test_a_potential_may_drive_others():
    model, x = livelier(Filtered(), by=3.0), torch.rand(6, 16, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    with torch.no_grad():
        wanted = model(x)
    assert 0 < wanted.mean() < 1
    assert torch.equal(fused(x), wanted)


def test_potentials_are_what_is_read():
    model, x = livelier(Regression(), by=3.0), torch.rand(9, 6, 16, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    with torch.no_grad():
        wanted = model(x)
    found = fused(x)
    close(found["read"], wanted["read"])
    close(found["largest"], wanted["largest"])
    for ours, theirs in zip(found["last"], wanted["last"], strict=True):
        close(ours, theirs)
    assert wanted["read"].abs().max() > 1 and "membrane potential" in str(fused.report)


@pytest.mark.parametrize(
    "network, message",
    [
        (Feedback, "reads what another step has computed"),
        (Uneven, "step 1 of its loop computes something else than step 0"),
        (Changed, "lif1 is given another state than what its call in step 0 gave"),
        (Mistaken, "lif1 is given another state than what its call in step 0 gave"),
        (Swapped, "lif1 is given another state than what its call in step 0 gave"),
        (Forgetful, "lif1 is given another state than what its call in step 0 gave"),
        (Charged, "lif1 is given another state than nothing before the first step"),
    ],
)
def test_loops_that_are_refused(network, message):
    with pytest.raises(ConversionError, match=message):
        fastsnn.fuse(network().eval(), torch.rand(6, 16))


def test_spikes_without_a_reset_are_refused():
    with pytest.raises(ConversionError, match="out: without a reset its spikes have no kernel"):
        fastsnn.fuse(Unreset().eval(), torch.rand(9, 6, 16))
