"""Samples that are moved from the first dimension, or merged with windows and heads, and come back."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo import randomise

import fastsnn
from fastsnn.convert.capture import capture
from fastsnn.convert.graph import Move
from fastsnn.errors import ConversionError


class Net(nn.Module):
    """Tokens [B, 6, 8] of an image, what a test does to them, and a classifier."""

    def __init__(self, inside, *modules):
        super().__init__()
        self.patches, self.fc, self.inside = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 4), inside
        self.linear, self.parts = nn.Linear(8, 8), nn.ModuleList(modules)

    def forward(self, x):
        return self.fc(self.inside(self, F.relu(self.patches(x)).flatten(2).transpose(1, 2)).mean(1))


def photos(n=4):
    return torch.randn(n, 3, 8, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def tokens_first(m, x):
    return F.relu(m.linear(x.transpose(0, 1))).transpose(0, 1)


def tokens_first_through_a_view(m, x):
    y = m.linear(x.transpose(0, 1)).reshape(6, -1, 8)
    return m.linear(y.reshape(-1, 8)).view(6, -1, 8).permute(1, 0, 2)


def windows(m, x):
    y = x.reshape(-1, 3, 8)
    y = y + F.gelu(m.parts[0](m.linear(y))) * 0.5
    y = y @ y.transpose(1, 2) / 3
    return (y.softmax(-1) @ x.reshape(-1, 3, 8)).reshape(-1, 6, 8)


def softmax_by_a_number_from_the_front(m, x):
    return (x.reshape(-1, 3, 8).softmax(1) + x.reshape(-1, 3, 8)).view(-1, 6, 8)


def heads(m, x):
    y, _ = m.parts[0](x, x, x, need_weights=False)
    return x + y


INSIDES = {
    "tokens_first": (tokens_first, ()),
    "tokens_first_through_a_view": (tokens_first_through_a_view, ()),
    "windows": (windows, (nn.LayerNorm(8),)),
    "softmax_by_a_number_from_the_front": (softmax_by_a_number_from_the_front, ()),
    "heads": (heads, (nn.MultiheadAttention(8, 2, batch_first=True),)),
}


@pytest.mark.parametrize("name", INSIDES)
def test_it_is_the_network(name):
    inside, modules = INSIDES[name]
    torch.manual_seed(0)
    net = randomise(Net(inside, *modules)).double().eval()
    snn = fastsnn.convert(net, photos(8), precision="float64", timesteps=8)
    with torch.no_grad():
        wanted = net(photos())
    assert (snn.analog(photos(), clip=False) - wanted).abs().max() < 1e-9 * wanted.abs().max()
    assert (snn(photos(), 256) - snn.analog(photos())).abs().max() < 0.05 * wanted.abs().max()


def test_what_comes_back_unchanged_is_the_value_itself():
    net = Net(lambda m, x: x.transpose(0, 1).reshape(3, -1).view(6, -1, 8).permute(1, 0, 2)).double()
    graph = capture(net, photos()).graph
    assert sum(isinstance(node.payload, Move) for node in graph.nodes.values()) < 6


def joined(m, x):
    return torch.cat([x.transpose(0, 1), x.transpose(0, 1)]).transpose(0, 1)


def over_samples(m, x):
    return F.linear(x.transpose(0, 2), torch.ones(x.shape[0], x.shape[0])).transpose(0, 2)


def rows_of_two_samples(m, x):
    return m.linear(x.permute(1, 2, 0).reshape(-1, 8)).reshape(-1, 6, 8)


def other_windows(m, x):
    return (x.reshape(-1, 3, 8) * x.reshape(1, -1, 8)[:, :3]).view(-1, 6, 8)


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param(lambda m, x: x.flip(0), id="other order"),
        pytest.param(lambda m, x: x.transpose(0, 1).softmax(0).transpose(0, 1), id="function of moved ones"),
        pytest.param(lambda m, x: x.reshape(-1, 3, 8).softmax(0).view(-1, 6, 8), id="function over merged ones"),
        pytest.param(lambda m, x: x + x.reshape(-1, 8)[:1], id="a sample for all"),
        *(pytest.param(f, id=f.__name__) for f in (joined, over_samples, rows_of_two_samples, other_windows)),
    ],
)
def test_what_mixes_samples_is_refused(inside):
    with pytest.raises(ConversionError, match="number of samples"):
        capture(Net(inside), photos().float())


def test_an_output_that_is_not_by_sample_is_refused():
    with pytest.raises(ConversionError, match="number of samples"):
        capture(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(0, 1)), photos().float())
