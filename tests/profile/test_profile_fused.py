"""Fused networks are profiled on sequences, or on images that every step sees; alone or as parts of a module."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.nn import LIF, Conv2dIF, PerStep
from fastsnn.profile.fused import Fused, over_time
from fastsnn.profile.module import Module

T, B = 10, 3
CONV = nn.Conv2d(2, 4, 3, padding=1)


def network():
    """Numbers, two layers of neurons between which there is a pool, and a linear layer behind them."""
    torch.manual_seed(0)
    body = [Conv2dIF(2, 4, 3, padding=1), PerStep(nn.AvgPool2d(2)), Conv2dIF(4, 5, 3, neurons=LIF(0.8))]
    head = [PerStep(nn.Sequential(nn.Flatten(), nn.Linear(20, 3)))]
    return nn.Sequential(*body, *head).eval()


def sequence(batch=B, steps=T, seed=1):
    return torch.rand(steps, batch, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def fused():
    return fastsnn.fuse(network(), sequence())


def trains(net, *given):
    return {name: train.to_dense() for name, train in net.spikes(*given).items()}


@pytest.mark.parametrize("held", [False, True])
def test_counts_are_those_of_the_spikes(fused, held):
    x = sequence()[0] if held else sequence().transpose(0, 1)
    subject = Fused(fused, T, held)
    found, logits = subject.observe(x)
    given = (x, T) if held else (sequence(),)
    spikes, outputs = trains(fused, *given), fused(*given)
    assert found.images == B and set(found.counts) == set(spikes) and subject.T == T
    for name, train in spikes.items():
        assert torch.equal(found.counts[name].spikes, train.sum(tuple(range(1, train.ndim))).long())
        assert torch.equal(found.counts[name].fired, train.sum((0, 1)).long())
    means = torch.stack([outputs[: t + 1].mean(0) for t in range(T)])
    # each is a sum of T numbers of float32, in another order
    torch.testing.assert_close(logits, means, rtol=0, atol=T * 2**-23 * outputs.abs().max().item())


def test_additions_are_spikes_times_what_they_reach(fused):
    found, _ = Fused(fused, T, False).observe(sequence().transpose(0, 1))
    first, second = trains(fused, sequence()).values()
    steps = first.movedim(-1, 2).double()
    # through the pool and the convolution, which are one: 4x4 taps at every second position
    reached = nn.functional.conv2d(steps.flatten(0, 1), torch.ones(5, 4, 4, 4).double(), stride=2)
    by_layer = {name: found.additions[name].sum(0) for name in found.additions}
    layers = list(fused.program.neurons)
    assert torch.equal(by_layer[layers[1]].double(), reached.unflatten(0, (T, B)).flatten(1).sum(1))
    readout = list(found.additions)[-1]
    assert torch.equal(by_layer[readout], 3 * second.flatten(1).sum(1).long())


def test_numbers_are_multiplied_at_each_step_of_a_sequence_and_once_of_an_image(fused):
    def macs(held):
        return [mac for facts in Fused(fused, T, held).facts for mac in facts.macs]

    (over_steps,), (once,) = macs(False), macs(True)
    assert (over_steps["kind"], over_steps["times"], once["kind"], once["times"]) == ("numbers", T, "first layer", 1)
    assert over_steps["once"] == once["once"] == 4 * 2 * 22 * 22


def test_what_is_behind_the_last_neurons_runs_at_each_step():
    torch.manual_seed(0)
    parts = [Conv2dIF(2, 4, 3), PerStep(nn.Sequential(nn.Flatten(), nn.Linear(144, 6), nn.Linear(6, 3)))]
    fused = fastsnn.fuse(nn.Sequential(*parts).eval(), sequence())
    subject = Fused(fused, T, False)
    last = subject.facts[-1]
    assert last.role == "readout" and last.macs[0]["times"] == T
    moved = subject.moved(B)[last.name]
    assert (moved["read"], moved["written"]) == (4 * 6 * B * T, 4 * 3 * B * T)


def test_a_whole_profile_of_sequences(fused):
    labels = torch.arange(B)
    batches = [(sequence(), labels), (sequence(seed=2), labels)]
    options = {"rounds": 3, "budget": 0.1, "energy_seconds": 0.05, "progress": False}
    document = fastsnn.profile(fused, batches, sequences=True, **options).document
    network, conditions = document["network"], document["conditions"]
    assert (network["source"], network["name"], network["precision"]) == ("fused", "Sequential", "float32")
    assert (network["timesteps"], conditions["images"], conditions["batch"]) == (T, 2 * B, B)
    (curve,) = document["accuracy"]["curves"]
    right = sum((over_time(fused(x)).argmax(-1) == labels).sum(1) for x, labels in batches)
    assert curve["accuracy"] == (right.double() / (2 * B)).tolist()
    assert [t for t, _ in document["time"]["by_steps"]] == [1, 2, 4, 8, T]
    timed = {layer["name"] for layer in document["layers"] if layer["milliseconds"] is not None}
    assert set(fused.program.neurons) <= timed
    assert "sequences=True" in document["command"]


def test_a_whole_profile_of_images_beside_a_dense_network(fused):
    dense = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    options = {"rounds": 3, "budget": 0.1, "energy_seconds": 0.05, "progress": False, "compile": False}
    document = fastsnn.profile(fused, sequence()[0], dense=dense, timesteps=4, **options).document
    assert document["network"]["timesteps"] == 4
    assert [run["name"] for run in document["time"]["runs"]][:2] == ["spiking", "dense, eager"]


def test_an_input_of_spikes_is_counted_where_it_is_read():
    spikes = (sequence() < 0.2).float()
    fused = fastsnn.fuse(network(), spikes, spikes=True)
    found, _ = Fused(fused, T, False).observe(spikes.transpose(0, 1))
    reached = nn.functional.conv2d(spikes.flatten(0, 1), torch.ones(4, 2, 3, 3), padding=1)
    first = next(iter(fused.program.neurons))
    assert torch.equal(found.additions[first].sum(0), reached.unflatten(0, (T, B)).flatten(1).sum(1).long())
    assert set(found.counts) == set(fused.program.neurons)


class Around(nn.Module):
    """A module that gives a fused network what it makes of its input."""

    def __init__(self, fused):
        super().__init__()
        self.fused = fused

    def forward(self, x):
        return self.fused(0.5 * x)


@pytest.mark.parametrize("steps", [None, T])
def test_a_fused_network_in_a_module(fused, steps):
    around = Around(fused if steps is None else Held(fused))
    x = sequence().transpose(0, 1) if steps is None else sequence()[0]
    subject = Module(around, x, sequences=steps is None)
    found, logits = subject.observe(x)
    alone = Fused(fused, T, steps is not None)
    wanted, outputs = alone.observe(0.5 * x)
    path = "fused" if steps is None else "fused.network"
    assert subject.T == T and [f.name for f in subject.facts] == [f"{path}.{f.name}" for f in alone.facts]
    for name, counts in wanted.counts.items():
        assert torch.equal(found.counts[f"{path}.{name}"].fired, counts.fired)
    assert torch.equal(logits, outputs if steps is None else fused(0.5 * x, T))
    assert set(subject.seconds(x, 1)) == {f"{path}.{name}" for name in alone.seconds(x, 1)}
    assert subject.parameters() == alone.parameters()


class Held(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x, timesteps=T)


def test_a_chain_in_which_modules_stay():
    reason = "SpikingJelly is not installed"
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)
    layer = pytest.importorskip("spikingjelly.activation_based.layer", reason=reason)
    torch.manual_seed(0)
    parts = [
        layer.Conv2d(2, 4, 3),
        neuron.IFNode(v_reset=None),
        neuron.QIFNode(),
        layer.Flatten(),
        layer.Linear(144, 3),
    ]
    fused = fastsnn.fuse(nn.Sequential(*parts, neuron.IFNode(v_reset=None)), sequence())
    subject = Module(fused, sequence().transpose(0, 1), sequences=True)
    assert [facts.neurons for facts in subject.facts if facts.neurons] == [144, 3]


def test_other_steps_than_before_are_refused(fused):
    x = sequence().transpose(0, 1)
    subject = Module(Around(fused), x, sequences=True)
    with pytest.raises(ValueError, match="ran fused for other steps than those of the first batch, 10"):
        subject.observe(x[:, :4])
    with pytest.raises(ValueError, match="sequences of 10 steps, as those of the first batch, got 4"):
        Fused(fused, T, False).observe(x[:, :4])


@pytest.mark.parametrize(
    "options, reason",
    [
        ({}, r"on sequences .* or on images .* got sequences=False and timesteps=None"),
        ({"sequences": True, "timesteps": 4}, "got sequences=True and timesteps=4"),
        ({"sequences": True, "dense": CONV}, "cannot be run on sequences"),
    ],
)
def test_what_cannot_be_run_is_refused(fused, options, reason):
    with pytest.raises(ValueError, match=reason):
        fastsnn.profile(fused, sequence(), progress=False, **options)


def test_sequences_are_for_networks_that_take_them(fused):
    snn = fastsnn.convert(nn.Sequential(CONV, nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)).eval(), sequence()[0])
    with pytest.raises(ValueError, match="takes images, not sequences"):
        fastsnn.profile(snn, sequence(), sequences=True, progress=False)
    with pytest.raises(ValueError, match=r"needs sequences \[T, B, ...\], got \[3, 4\]"):
        fastsnn.profile(fused, torch.rand(3, 4), sequences=True, progress=False)
