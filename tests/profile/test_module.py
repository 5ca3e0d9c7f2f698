"""Modules that call fastsnn's operators by themselves are counted as converted networks are."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.ops.conv_if import conv_if
from fastsnn.ops.if_constant import if_constant
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.linear_if import linear_if
from fastsnn.ops.pack import counts, unpack
from fastsnn.ops.pool import pool_counts, pool_gate, pool_or
from fastsnn.ops.readout import readout
from fastsnn.profile.module import Module

T = 6


class Layer(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(outputs, channels, 3, 3))
        self.identity = nn.Parameter(torch.ones(outputs, 1, 1, 1))

    def forward(self, words):
        inputs, weights, more = [words], [self.weight.detach()], {"padding": [1, 1]}
        if self.weight.shape[0] == self.weight.shape[1]:
            inputs, weights = [words, words], [*weights, self.identity.detach()]
            more = {"padding": [1, 1, 0, 0], "groups": [1, len(self.identity)]}
        return conv_if(inputs, weights, T, 1.0, 0.5, **more)[0]


class Net(nn.Module):
    """A stem of numbers, neurons, a residual layer, all three pools, a vector layer called twice, a readout."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), Layer(4, 4), Layer(4, 5)
        self.hidden, self.more = nn.Parameter(0.3 * torch.randn(20, 45)), nn.Parameter(0.5 * torch.randn(20, 20))
        self.out = nn.Parameter(torch.randn(3, 20))

    def forward(self, x):
        words = if_constant(self.stem(x).permute(0, 2, 3, 1).contiguous(), T, 1.0, 0.5)[0]
        words = self.b(self.a(words))
        gates = torch.zeros(words.shape, dtype=torch.int32)
        words = pool_gate(words, gates, T, [2, 2])[0]
        words = pool_or(words, T, [2, 2], [1, 1], [1, 1]).contiguous()
        words = pool_or(words, T, [3, 3], [2, 2], [1, 1]).flatten(1)
        words = linear_if([words], [self.hidden.detach()], T)[0]
        words = linear_if([words], [self.more.detach()], T)[0]
        return readout(words, self.out.detach(), T)[0]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def images(n=3):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def test_every_call_is_a_layer_with_its_place(net):
    subject = Module(net, images())
    assert [(f.name, f.role, f.neurons) for f in subject.facts] == [
        ("stem", "numbers", 0),
        ("if_constant", "first", 256),
        ("a", "spiking", 256),
        ("b", "spiking", 320),
        ("pool_gate", "pool", 0),
        ("pool_or", "pool", 0),
        ("pool_or.pool_or", "pool", 0),
        ("linear_if", "spiking", 20),
        ("linear_if.linear_if", "spiking", 20),
        ("readout", "readout", 0),
    ]
    kinds = {f.name: [reach.kind for reach in f.reaches] for f in subject.facts}
    assert kinds["a"] == ["synapses", "residual"] and kinds["b"] == ["synapses"] and kinds["pool_or"] == ["pooling"]
    assert [m["kind"] for m in subject.facts[0].macs] == ["first layer"] and subject.T == T
    # 4 outputs, 2 channels, 22 x 22 pairs of a position and a tap that exist
    assert subject.facts[0].dense_macs == 4 * 2 * 22 * 22 == subject.facts[0].macs[0]["once"]
    assert subject.facts[0].dense_macs_with_borders == 4 * 2 * 9 * 64


def test_counts_are_those_of_brute_force(net):
    x = images()
    subject = Module(net, x)
    observed, logits = subject.observe(x)
    assert torch.equal(logits, net(x))
    with torch.no_grad():
        first = if_constant(net.stem(x).permute(0, 2, 3, 1).contiguous(), T, 1.0, 0.5)[0]
        second = net.a(first)
    dense = unpack(first, T).float().permute(0, 1, 4, 2, 3)
    ones = torch.ones(4, 4, 3, 3)
    expected = [nn.functional.conv2d(step, ones, padding=1).sum().long() for step in dense]
    assert observed.additions["a"][0].tolist() == [n.item() for n in expected]
    # the identity: one addition a spike
    assert torch.equal(observed.additions["a"][1], observed.counts["if_constant"].spikes)
    assert observed.counts["a"].spikes.sum() == counts(second).sum()
    assert torch.equal(observed.counts["a"].fired, counts(second).long().sum(0))
    assert observed.additions["readout"].shape == (1, T)
    assert observed.additions["readout"].sum() == 3 * observed.counts["linear_if.linear_if"].spikes.sum()


def test_batches_add_up(net):
    x = images(4)
    subject = Module(net, x)
    whole = subject.observe(x)[0]
    parts = subject.observe(x[:1])[0].plus(subject.observe(x[1:])[0])
    assert all(torch.equal(parts.additions[n], a) for n, a in whole.additions.items())
    assert all(torch.equal(parts.counts[n].fired, c.fired) for n, c in whole.counts.items())
    assert [f.macs for f in Module(net, x[:1]).facts] == [f.macs for f in subject.facts]


def test_a_converted_network_inside_is_counted_layer_by_layer():
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    snn = fastsnn.convert(dense.eval(), images(8), timesteps=4)
    x = images()
    wrapped = nn.Sequential(nn.BatchNorm2d(2), snn).eval()
    subject = Module(wrapped, x)
    observed, logits = subject.observe(x)
    with torch.inference_mode():
        alone = snn.spikes(wrapped[0](x))
        assert torch.equal(logits, wrapped(x))
    assert [f.name for f in subject.facts][:2] == ["1.1", "1.3"] and subject.T == 4
    for name, train in alone.items():
        assert torch.equal(observed.counts[f"1.{name}"].fired, train.counts().long().sum(0))
    assert set(subject.seconds(x, 3)) == {"1.1", "1.3"} and set(subject.moved(3)) == {f.name for f in subject.facts}
    with pytest.raises(ValueError, match="calls the network 0 once"):
        Module(Twice(snn), x)


class Twice(nn.Sequential):
    def forward(self, x):
        return self[0](x) + self[0](x)


def test_times_are_those_of_the_same_calls(net):
    subject = Module(net, images())
    seconds = subject.seconds(images(), 3)
    assert set(seconds) == {f.name for f in subject.facts} and {len(found) for found in seconds.values()} == {3}


def test_numbers_over_time_and_sum_pools():
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 4)

        def forward(self, x):
            currents = self.linear(x.transpose(0, 1))
            words = if_steps(currents, 1.0, 0.5)[0]
            return pool_counts(words[:, :, None].contiguous(), len(currents), [2])

    x = torch.randn(3, 7, 5)
    subject = Module(Steps().eval(), x)
    (linear, steps, pool) = subject.facts
    # seven steps of one image
    assert linear.macs == ({"kind": "first layer", "source": "numbers", "once": 7 * 20, "times": 1},)
    assert (steps.neurons, pool.role, subject.T) == (4, "pool", 7)
    observed, _ = subject.observe(x)
    assert torch.equal(observed.additions["pool_counts"][0], observed.counts["if_steps"].spikes)


def test_what_cannot_be_profiled():
    with pytest.raises(ValueError, match="calls none of fastsnn's, and holds no converted or fused network"):
        Module(nn.Linear(3, 2), torch.randn(2, 3))

    class Moody(nn.Module):
        def forward(self, x):
            words = if_constant(x, T)[0]
            return words if len(x) > 2 else if_constant(x, T)[0]

    subject = Module(Moody(), torch.randn(3, 4))
    with pytest.raises(ValueError, match="called other operators for this batch than for the first one: if_constant"):
        subject.observe(torch.randn(1, 4))


def test_a_module_is_left_as_it_was(net):
    def hooks():
        return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]

    before = hooks()
    Module(net, images())
    assert hooks() == before
    net.a.weight = nn.Parameter(torch.randn(4, 5, 3, 3))
    with pytest.raises(ValueError, match="conv_if"):
        Module(net, images())
    assert hooks() == before
