"""A profile of neurons that emit several spikes a step: every plane's spikes are counted, and what they reach."""

from math import prod

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.profile.activation import activations
from fastsnn.profile.converted import Converted
from fastsnn.program import NeuronLayer, PlaneLayer

T = 6


class Net(nn.Module):
    """A residual connection, a max pool, a vector."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.c, self.head = nn.Linear(80, 7), nn.Linear(7, 3)

    def forward(self, x):
        x = self.a(x).relu()
        x = nn.functional.max_pool2d((self.b(x) + x).relu(), 2)
        return self.head(self.c(x.flatten(1)).relu())


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Net().eval()


def images():
    return torch.randn(12, 2, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("method", ["gn", "casc"])
def test_spikes_and_additions_are_those_of_brute_force(model, method):
    x = images()
    options = {"wake": 4} if method == "casc" else {}
    snn = fastsnn.convert(model, x, method=method, timesteps=T, **options)
    trains = snn.spikes(x)
    with torch.inference_mode():
        subject = Converted(snn, T)
        observed, curve = subject.observe(x)
    assert torch.equal(curve, snn.logits_over_time(x))
    for name, train in trains.items():
        each = train.unpack().long()
        assert torch.equal(observed.counts[name].spikes, each.sum(dim=tuple(i for i in range(each.ndim) if i != 1)))
        assert torch.equal(observed.counts[name].fired, each.sum((0, 1, 2)))
    layers = snn.program.layers
    compared = 0
    for facts in subject.facts:
        layer = layers[facts.name]
        if not isinstance(layer, NeuronLayer):
            continue
        # planes of a max pool are not in the trains
        planes = [layers[t.source] for t in layer.terms if isinstance(layers[t.source], PlaneLayer)]
        if not planes or any(plane.source not in trains for plane in planes):
            continue
        wanted = torch.zeros(T, dtype=torch.float64)
        for term in layer.terms:
            plane = layers[term.source]
            spikes = trains[plane.source].unpack()[plane.plane].double()
            ones = (term.weight != 0).double()
            wanted += torch.stack([term.linear(step, ones).sum() for step in spikes])
        assert torch.equal(observed.additions[facts.name].sum(0), wanted.long()), facts.name
        assert {reach.source for reach in facts.reaches} <= set(trains)
        compared += 1
    assert compared


def test_bytes_are_those_of_all_planes(model):
    x = images()
    one, several = (Converted(fastsnn.convert(model, x, method=m, timesteps=T), T) for m in ("opi", "gn"))
    few, many = one.moved(4), several.moved(4)
    for name, layer in one.snn.program.layers.items():
        if isinstance(layer, NeuronLayer):
            # three planes of one byte a neuron and image, in place of one
            assert many[name]["written"] - few[name]["written"] == 2 * 4 * prod(layer.shape), name


def test_activations_are_compared_with_what_all_planes_are_worth(model):
    x = images()
    snn = fastsnn.convert(model, x, method="h-mt", timesteps=T)
    with torch.inference_mode():
        found = activations(snn, model, x, T)
    # 15 levels a step
    assert all(pair["correlation"] > 0.999 and pair["error"] < 0.05 for pair in found.values())


def test_a_whole_profile(model, tmp_path):
    x = images()
    snn = fastsnn.convert(model, x, method="fast-snn", timesteps=T)
    loader = [(x, torch.zeros(12, dtype=torch.int64))]
    found = fastsnn.profile(snn, loader, dense=model, timesteps=T, save=[tmp_path / "p.json", tmp_path / "p.html"])
    spikes = sum(int(train.counts().sum()) for train in snn.spikes(x).values())
    assert "fast-snn" in str(found) and spikes > 0
    assert {p.name for p in tmp_path.iterdir()} == {"p.json", "p.html"}
