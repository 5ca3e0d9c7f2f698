"""Permutations behind what is done to each element alike: what cancels, what stays, and that nothing else changes."""

import pytest
import torch
import torch.nn.functional as F
from simulator import in_order, simulate
from torch import nn
from zoo import Body, images, randomise

import fastsnn
from fastsnn.convert.capture import capture
from fastsnn.convert.graph import Move
from fastsnn.convert.moves import settled
from fastsnn.program import ConvTerm, NeuronLayer

T = 12


def mixer():
    """Linear layers over tokens, in both directions."""

    def forward(m, x):
        x = F.relu(m.patches(x)).flatten(2).transpose(1, 2)
        x = F.relu(m.norm((x + m.across(F.relu(m.into(x.transpose(1, 2)))).transpose(1, 2)).transpose(1, 2)))
        x = x.transpose(1, 2)
        return m.fc((x + m.down(F.relu(m.up(x)))).mean(1))

    return Body(
        forward, patches=nn.Conv2d(3, 8, 3, 3), into=nn.Linear(16, 12), across=nn.Linear(12, 16),
        norm=nn.BatchNorm1d(8), up=nn.Linear(8, 12), down=nn.Linear(12, 8), fc=nn.Linear(8, 4),
    )  # fmt: skip


def network():
    torch.manual_seed(0)
    return randomise(mixer()).double().eval()


def graphs():
    found = capture(network(), images(1)).graph
    return found, settled(found)


def moves(graph):
    return [node for node in graph.nodes.values() if isinstance(node.payload, Move)]


def test_it_is_the_network():
    snn = fastsnn.convert(network(), images(16, seed=5), precision="float64", timesteps=T)
    with torch.no_grad():
        wanted = network()(images(4))
    assert (snn.analog(images(4), clip=False) - wanted).abs().max() < 1e-9 * wanted.abs().max()


def test_neurons_are_driven_by_the_linear_layer_in_front_of_them():
    snn = fastsnn.convert(network(), images(16, seed=5), timesteps=T)
    kinds = {n: la.terms[0] for n, la in snn.program.layers.items() if isinstance(la, NeuronLayer)}
    assert [name for name, term in kinds.items() if isinstance(term, ConvTerm)] == ["relu", "relu_1", "relu_3"]
    before, after = graphs()
    assert len(moves(after)) < len(moves(before))


def test_spikes_are_those_of_the_simulation_in_another_order():
    x = images(4)
    snn = fastsnn.convert(network(), images(16, seed=5), precision="float64", timesteps=T, threshold="percentile:99.5")
    reference = simulate(network(), x, T, list(snn.thresholds.values()))
    for train, wanted in zip(snn.spikes(x).values(), in_order(reference, snn.program), strict=True):
        got = train.unpack()[0].bool()
        assert torch.equal(got.movedim(-1, 2) if got.ndim > 3 else got, wanted)
    assert (snn.logits_over_time(x) - reference.logits[0]).abs().max() < 1e-9


@pytest.mark.parametrize(
    "function, left",
    [
        (lambda x: x.transpose(1, 2).transpose(1, 2), 0),
        (lambda x: torch.relu(x.transpose(1, 2)).transpose(1, 2), 0),
        (lambda x: (x.transpose(1, 2) * torch.arange(3.0).reshape(1, 3)).permute(0, 2, 1), 0),
        (lambda x: (F.silu(x.mT) + 2 * torch.sigmoid(x.mT)).mT, 0),
        (lambda x: x.transpose(1, 2).clamp(0, 1).flatten(1), 1),
        (lambda x: x.transpose(1, 2).softmax(-1).transpose(1, 2), 2),
        (lambda x: (x.transpose(1, 2) + x[:, :1].transpose(1, 2)).transpose(1, 2), 5),
        (lambda x: torch.relu(x.transpose(1, 2)[:, :2]).transpose(1, 2), 3),
        (lambda x: torch.minimum(torch.relu(x.mT), torch.tensor([[1.0], [2.0], [3.0], [4.0]])).mT, 2),
    ],
)
def test_what_cancels(function, left):
    class Net(nn.Module):
        def forward(self, x):
            return function(torch.relu(x))

    graph = settled(capture(Net(), torch.randn(2, 3, 4)).graph)
    assert len(moves(graph)) == left
