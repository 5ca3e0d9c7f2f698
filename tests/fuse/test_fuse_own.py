"""Networks of fastsnn.nn as one program: the same spikes, in streams, held inputs, bad input."""

import pytest
import torch
from steps import EPSILON, livelier, unexplained
from torch import nn

import fastsnn
from fastsnn.errors import ConversionError
from fastsnn.fuse import FusedNetwork
from fastsnn.fuse.single import fused
from fastsnn.nn import IF, LIF, Conv2dIF, LinearIF, PerStep, SpikingAvgPool2d, reset


def network(neurons: IF | None = None) -> nn.Module:
    return livelier(
        nn.Sequential(
            Conv2dIF(2, 6, 3, padding=1, neurons=neurons),
            SpikingAvgPool2d(2),
            Conv2dIF(6, 4, 3, neurons=IF(torch.rand(4) + 0.5, reset="hard", comparator=">")),
            PerStep(nn.Flatten()),
            LinearIF(4 * 16, 5),
        )
    )


def sequence(T: int = 40, batch: int = 3) -> torch.Tensor:
    return torch.rand(T, batch, 2, 12, 12, dtype=torch.float64)


@pytest.mark.parametrize("neurons", [None, LIF(0.8, 0.7)], ids=["IF", "LIF"])
def test_spikes_are_those_of_the_modules(neurons):
    model, x = network(neurons), sequence()
    fused = fastsnn.fuse(model, x, precision="float64")
    assert isinstance(fused, FusedNetwork)
    wanted = model(x)
    assert 0.05 < wanted.mean() < 0.95
    assert torch.equal(fused(x), wanted)
    spikes = fused.spikes(x)
    assert torch.equal(spikes["4.neurons"].to_dense(torch.float64), wanted)


def test_a_stream_is_one_run():
    model, x = network(), sequence()
    fused = fastsnn.fuse(model, x, precision="float64")
    first, state = fused.run(x[:7])
    second, _ = fused.run(x[7:], state)
    assert torch.equal(torch.cat([first, second]), fused(x))


def test_an_input_that_is_held_is_a_sequence_of_it():
    model, x = network(), sequence()
    fused = fastsnn.fuse(model, x, precision="float64")
    # the first sum of a held input is one convolution of B images and not of T x B, whose rounding may differ
    assert torch.equal(fused(x[0], timesteps=9), fused(x[:1].expand(9, *x[0].shape)))
    assert torch.equal(fused(x[0], timesteps=9), fused(x[:1].repeat(9, 1, 1, 1, 1)))


def test_the_given_network_is_left_as_it_is():
    model, x = network(), sequence()
    model(x[:3])
    before = model[0].state.clone()
    fastsnn.fuse(model, x)
    assert torch.equal(model[0].state, before) and isinstance(model[0], Conv2dIF)
    reset(model)
    assert model[0].state is None


def test_float32_differs_by_rounding_only():
    # weights and inputs in tenths: potentials are at the threshold up to rounding again and again
    T, inputs, outputs, batch = 32, 48, 64, 32
    layer = LinearIF(inputs, outputs, bias=False, neurons=IF(initial_potential=0.0))
    layer.linear.weight.data = torch.randint(-2, 4, (outputs, inputs)) / 10
    x = (torch.rand(T, batch, inputs) < 0.2).float()
    # passes spikes on, so that the layer behind it reads spikes and sums them in another order
    same = LinearIF(inputs, inputs, bias=False, neurons=IF(initial_potential=0.0))
    same.linear.weight.data = torch.eye(inputs)
    model = nn.Sequential(same, layer)
    ours, theirs = fastsnn.fuse(model, x)(x), model(x)
    assert not torch.equal(ours, theirs), "nothing comes near the threshold, so that this shows nothing"
    currents, spikes = x.double() @ layer.linear.weight.double().T, theirs.double()
    potentials = currents.cumsum(0) - (spikes.cumsum(0) - spikes)
    # A sum of n products differs between two orders by at most 2 n eps sum |w x|; each of t steps adds that and the
    # rounding of two additions to a potential below the largest sum plus a threshold.
    reach = layer.linear.weight.abs().sum(1).max().item()
    steps = torch.arange(1, T + 1, dtype=torch.float64)
    bound = steps * EPSILON * (2 * inputs * reach + 4 * (reach * T + 1))
    flat = [part.flatten(1) for part in (ours, theirs, potentials)]
    assert unexplained(*flat, 1.0, bound) == 0


def test_the_comparison_can_fail():
    ours, theirs = torch.tensor([[0.0, 1], [1, 1]]), torch.tensor([[0.0, 0], [1, 1]])
    potentials = torch.tensor([[0.5, 0.9], [1.0, 1.0]], dtype=torch.float64)
    assert unexplained(ours, theirs, potentials, 1.0, torch.full((2,), 0.05)) == 1
    assert unexplained(ours, theirs, potentials, 1.0, torch.full((2,), 0.2)) == 0


def test_modules_with_a_residual_connection():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.a, self.b, self.c = IF(), IF(), LIF(0.9)

        def forward(self, x):
            x = self.a(x)
            return self.c(PerStep(self.second)(self.b(PerStep(self.first)(x))) + x)

    model, x = livelier(Block()), torch.rand(9, 2, 3, 6, 6, dtype=torch.float64)
    # traced as one step, what is built on the fly still takes a sequence: only the neurons are replaced
    parts = fastsnn.fuse(model, x, precision="float64")
    assert isinstance(parts.a, FusedNetwork)
    assert torch.equal(parts(x), model(x))
    reset(model)

    class Named(Block):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = PerStep(self.first), PerStep(self.second)

        def forward(self, x):
            x = self.a(x)
            return self.c(self.second(self.b(self.first(x))) + x)

    model = livelier(Named())
    assert torch.equal(fastsnn.fuse(model, x, precision="float64")(x), model(x))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda f, x: f(x[0]), ValueError, r"takes sequences \[T, B, 2, 12, 12\], or with timesteps=T inputs"),
        (lambda f, x: f(x, timesteps=4), ValueError, r"with timesteps this network takes inputs \[B, 2, 12, 12\]"),
        (lambda f, x: f(x.long()), TypeError, "floating-point inputs, got torch.int64"),
        (lambda f, x: f.run(x[:, :2], f.run(x)[1]), ValueError, "a batch of 3, got 2"),
        (lambda f, x: f.run(x[0], f.run(x)[1], timesteps=4), ValueError, "a run on a sequence, got an input that"),
        (lambda f, x: f.train(), RuntimeError, "inference only"),
    ],
)
def test_bad_input(call, error, message):
    x = sequence(5)
    fused = fastsnn.fuse(network(), x)
    with pytest.raises(error, match=message):
        call(fused, x.float()) if error is not TypeError else call(fused, x)


@pytest.mark.parametrize(
    "model, example, error, message",
    [
        ("net", torch.zeros(3, 2, 4), TypeError, "must be a torch.nn.Module, got str"),
        (nn.Linear(4, 4), torch.zeros(3, 2, 4), ConversionError, "Linear has no spiking neurons that are known"),
        (nn.Linear(4, 4), torch.zeros(3, 2, 4).long(), TypeError, "floating-point tensor"),
    ],
)
def test_what_cannot_be_fused(model, example, error, message):
    with pytest.raises(error, match=message):
        fastsnn.fuse(model, example)


def test_what_has_no_form_between_spiking_layers_stays_and_they_are_fused():
    model = livelier(nn.Sequential(LinearIF(4, 6), PerStep(nn.Linear(6, 5)), PerStep(Arctangent()), LinearIF(5, 4)))
    x = torch.rand(9, 2, 4, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    assert [type(part).__name__ for part in fused] == ["FusedNetwork", "PerStep", "PerStep", "FusedNetwork"]
    assert torch.equal(fused(x), model(x))


class Arctangent(nn.Module):
    def forward(self, x):
        return torch.atan(x)


class Gated(nn.Module):
    """What is no sum between spiking layers, at each step: activations, a gate, a product of spikes."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = LinearIF(4, 6), LinearIF(6, 6), LinearIF(6, 3)
        self.middle, self.gate = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        x = self.first(x)
        y = self.second(torch.relu(self.middle(x))) * x
        return self.last(nn.functional.silu(self.middle(y)) * torch.sigmoid(self.gate(x)) + self.gate(y).clamp(0, 0.5))


def test_functions_between_spiking_layers_are_those_of_each_step():
    model, x = livelier(Gated()), 2 * torch.rand(9, 2, 4, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    wanted = model(x)
    assert type(fused).__name__ == "FusedNetwork" and 0.1 < wanted.mean() < 0.9
    assert torch.equal(fused(x), wanted)
    first, state = fused.run(x[:4])
    assert torch.equal(torch.cat([first, fused.run(x[4:], state)[0]]), wanted)
    assert "of means" not in str(fused.report)


def test_a_clip_of_each_channel_between_spiking_layers_is_refused():
    class Clip(nn.Module):
        def forward(self, x):
            return torch.minimum(torch.relu(x), torch.tensor([0.5, 1.0, 1.5], dtype=x.dtype))

    model = nn.Sequential(LinearIF(4, 3), Clip(), LinearIF(3, 3))
    with pytest.raises(ConversionError, match="one bound for all channels"):
        fused(model, torch.rand(2, 4, dtype=torch.float64), "float64")


def test_the_report_says_what_became_of_each_module():
    report = fastsnn.fuse(network(), sequence(2)).report
    assert [row.module for row in report.rows] == ["0.neurons", "1.neurons", "2.neurons", "4.neurons"]
    assert report.stayed == () and "after each step" in str(report)


def events(T: int = 40) -> torch.Tensor:
    return (torch.rand(T, 3, 2, 12, 12) < 0.3).double()


def test_events_are_added_and_not_multiplied():
    model, x = network(), events()
    fused = fastsnn.fuse(model, x, precision="float64", spikes=True)
    wanted = model(x)
    assert 0.05 < wanted.mean() < 0.95
    assert torch.equal(fused(x), wanted)
    first, state = fused.run(x[:35])
    assert torch.equal(torch.cat([first, fused.run(x[35:], state)[0]]), wanted)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f, x: f(x / 2), "fused for spikes, 0 or 1"),
        (lambda f, x: f(x[0], timesteps=4), "not the same at every step"),
    ],
)
def test_other_numbers_than_events(call, message):
    x = events(3)
    fused = fastsnn.fuse(network(), x, spikes=True)
    with pytest.raises(ValueError, match=message):
        call(fused, x)
