"""SpikingJelly's networks, fused: each neuron, both step modes, what ann2snn makes, what stays."""

from functools import partial

import pytest
import torch
from steps import by_itself, livelier
from torch import nn

import fastsnn
from fastsnn.errors import ConversionError
from fastsnn.fuse import FusedNetwork

activation_based = pytest.importorskip("spikingjelly.activation_based", reason="SpikingJelly is not installed")
functional = pytest.importorskip("spikingjelly.activation_based.functional")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")

NEURONS = {
    "IF": neuron.IFNode,
    "IF-soft": partial(neuron.IFNode, v_reset=None, v_threshold=0.7),
    "IF-below": partial(neuron.IFNode, v_reset=-0.3),
    "LIF": neuron.LIFNode,
    "LIF-soft": partial(neuron.LIFNode, tau=3.0, v_reset=None),
    "LIF-no-decay": partial(neuron.LIFNode, tau=4.0, decay_input=False, v_reset=0.1),
    "PLIF": neuron.ParametricLIFNode,
    "half": neuron.HalfThresholdIFNode,
}


def network(node) -> nn.Module:
    return livelier(
        nn.Sequential(
            layer.Conv2d(2, 6, 3, padding=1, bias=False),
            layer.BatchNorm2d(6),
            node(),
            layer.MaxPool2d(2, 2),
            layer.Conv2d(6, 6, 3),
            node(),
            layer.AvgPool2d(2),
            layer.Flatten(),
            layer.Linear(6, 12),
            layer.Dropout(0.5),
            node(),
            layer.Linear(12, 5),
        ),
        by=9.0,
    )


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("mode", ["s", "m"])
def test_each_neuron(name, mode):
    model, x = network(NEURONS[name]), torch.rand(12, 3, 2, 10, 10, dtype=torch.float64)
    functional.set_step_mode(model, mode)
    fused = fastsnn.fuse(model, x, precision="float64")
    functional.reset_net(model)
    wanted = model(x).detach() if mode == "m" else by_itself(model, x)
    trains = fused.spikes(x).values()
    assert all(0 < train.firing_rate() < 1 for train in trains)
    # the last layer has no neurons: numbers, which differ by the rounding of sums of 12 weights below 10
    assert torch.allclose(fused(x), wanted, rtol=0, atol=1e-12)


def test_spikes_of_the_last_layer():
    model = nn.Sequential(*network(NEURONS["IF"]), neuron.IFNode().double()).eval()
    x = torch.rand(12, 3, 2, 10, 10, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    functional.reset_net(model)
    assert torch.equal(fused(x), by_itself(model, x))


def test_a_network_that_handles_the_steps_itself():
    class Net(nn.Module):
        """As in the library's tutorials: the image is repeated, the output a firing rate."""

        def __init__(self) -> None:
            super().__init__()
            self.conv_fc = nn.Sequential(*network(NEURONS["LIF"]), neuron.IFNode())

        def forward(self, x):
            return self.conv_fc(x.unsqueeze(0).repeat(8, 1, 1, 1, 1)).mean(0)

    model, x = Net().double().eval(), torch.rand(3, 2, 10, 10, dtype=torch.float64)
    functional.set_step_mode(model, "m")
    fused = fastsnn.fuse(model, x, precision="float64")
    functional.reset_net(model)
    assert isinstance(fused.conv_fc, FusedNetwork) and isinstance(model.conv_fc, nn.Sequential)
    wanted = model(x).detach()
    assert 0 < wanted.mean() < 1
    assert torch.equal(fused(x), wanted)
    assert fused.report.stayed == ()


def test_what_stays_inside_does_not_go_on_from_the_example():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(layer.Linear(4, 6), neuron.IFNode())
            self.other = neuron.QIFNode()
            self.last = nn.Sequential(layer.Linear(6, 3), neuron.IFNode())

        def forward(self, x):
            return self.last(self.other(self.first(x)))

    model, x = livelier(Net(), by=5.0), torch.rand(9, 2, 4, dtype=torch.float64)
    functional.set_step_mode(model, "m")
    fused = fastsnn.fuse(model, x, precision="float64")
    assert isinstance(fused.first, FusedNetwork) and isinstance(fused.other, neuron.QIFNode)
    functional.reset_net(model)
    assert torch.equal(fused(x), model(x).detach())


def test_containers_that_take_all_steps():
    inner = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
    model = livelier(nn.Sequential(layer.SeqToANNContainer(*inner), neuron.IFNode(step_mode="m"), layer.Flatten()))
    functional.set_step_mode(model, "m")
    x = torch.rand(6, 2, 2, 5, 5, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    functional.reset_net(model)
    assert torch.equal(fused(x), model(x).detach())


class Attention(nn.Module):
    """Self-attention of spikes and an MLP, as in Spikformer (Zhou et al., ICLR 2023)."""

    def __init__(self, features: int = 8, heads: int = 2):
        super().__init__()
        self.heads = heads
        parts = {name: nn.Linear(features, features) for name in ("query", "key", "value", "out", "mlp")}
        self.linear, self.norms = nn.ModuleDict(parts), nn.ModuleDict({n: nn.BatchNorm1d(features) for n in parts})
        self.neurons = nn.ModuleDict({name: neuron.LIFNode(v_threshold=0.5) for name in (*parts, "scores")})

    def part(self, name, x):
        return self.neurons[name](self.norms[name](self.linear[name](x).transpose(1, 2)).transpose(1, 2))

    def forward(self, x):
        shape = x.shape
        q, k, v = (
            self.part(name, x).unflatten(2, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value")
        )
        y = ((q @ k.transpose(-2, -1)) @ v * 0.25).transpose(1, 2).reshape(shape)
        x = x + self.part("out", self.neurons["scores"](y))
        return x + self.part("mlp", x)


def test_attention_of_spikes():
    tokens = nn.Conv2d(2, 8, 4, 4), nn.BatchNorm2d(8), neuron.LIFNode(), nn.Flatten(2), Tokens()
    model = livelier(nn.Sequential(*tokens, Attention(), Attention(), nn.Linear(8, 5)))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.constant_(module.bias, 1.0)
    x = 3 * torch.rand(12, 3, 2, 12, 12, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    wanted = by_itself(model, x)
    assert isinstance(fused, FusedNetwork) and wanted.std() > 0.01
    rates = [train.firing_rate() for train in fused.spikes(x).values()]
    assert all(0.01 < rate < 0.95 for rate in rates), rates
    # products and sums of the head are in another order than those of one step
    assert (fused(x) - wanted).abs().max() < 1e-12


class Tokens(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


def test_neurons_that_are_not_known_stay():
    model = livelier(
        nn.Sequential(nn.Linear(4, 6), neuron.IFNode(), nn.Linear(6, 5), neuron.QIFNode(), nn.Linear(5, 3))
    )
    model = nn.Sequential(*model, neuron.IFNode()).double().eval()
    x = torch.rand(9, 2, 4, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    functional.reset_net(model)
    assert torch.equal(fused(x), by_itself(model, x))
    assert torch.equal(fused(x), fused(x)), "what stays starts afresh at each call"
    (row,) = fused.report.stayed
    assert (row.module, row.kind) == ("3", "QIFNode") and "are not among IFNode" in row.why
    with pytest.raises(ConversionError, match="QIFNode are not among"):
        fastsnn.fuse(nn.Sequential(nn.Linear(4, 3), neuron.QIFNode()), x.float())


@pytest.mark.parametrize("kind", ["rate", "balanced"])
def test_converted_networks_with_their_scalers(kind):
    recipes = pytest.importorskip("spikingjelly.activation_based.ann2snn.recipes")
    ann2snn = pytest.importorskip("spikingjelly.activation_based.ann2snn")
    dense = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(96, 5), nn.ReLU()
    )
    images = torch.rand(16, 2, 10, 10)
    dense(images)
    if kind == "rate":
        recipe = recipes.RateCodingRecipe(images.split(8), channel_wise=True)
    else:
        recipe = recipes.LocalThresholdBalancingRecipe(images.split(8))
    model = ann2snn.Converter(recipe).convert(dense.eval()).double().eval()
    x = images.double().expand(12, *images.shape)
    fused = fastsnn.fuse(model, x, precision="float64")
    functional.reset_net(model)
    wanted = by_itself(model, x)
    assert 0 < (wanted != 0).double().mean() < 1
    # spikes times a scale, which are folded: one product more or less
    assert torch.allclose(fused(x), wanted, rtol=2.0**-50, atol=0)
    layers = [row for report in fused.report.layers for row in report.rows]
    assert [row.kind for row in layers if "IF" in row.kind] == ["conv + IF", "linear + IF"]
