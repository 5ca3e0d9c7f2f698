"""Spikes against the dense network's activations: the layer that converts badly stands out."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.profile.activation import activations


def net(pool=nn.MaxPool2d):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), pool(2), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
    ).eval()


def images(n=40):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("max_pool", ["lateral", "gate", "before", "average", "or"])
def test_with_many_steps_spikes_say_what_the_dense_network_does(max_pool):
    model = net(nn.AvgPool2d if max_pool == "average" else nn.MaxPool2d)
    snn = fastsnn.convert(model, images(), timesteps=64, max_pool=max_pool, threshold="max")
    found = activations(snn, model, images(), 64)
    assert set(found) == {"1", "4"}
    # one spike in 64 of the largest activation, at most, away from it
    assert found["1"]["correlation"] > 0.99 and found["1"]["error"] < 0.05
    few = activations(snn, model, images(), 2)
    assert few["1"]["error"] > found["1"]["error"]


def test_by_hand():
    model = net()
    snn = fastsnn.convert(model, images(), timesteps=8, precision="float64")
    with torch.no_grad():
        dense = model[1](model[0](images())).double().movedim(1, -1)
    spiking = snn.spikes(images())["1"].counts().double() / 8 * snn.thresholds["1"].double()
    both = torch.stack([dense.flatten(), spiking.flatten()])
    found = activations(snn, model, images(), 8)["1"]
    # the dense network runs in float32 here and in float64 there: 2^-24, amplified by a few additions
    assert found["correlation"] == pytest.approx(torch.corrcoef(both)[0, 1].item(), rel=1e-5)
    error = ((spiking - dense) ** 2).mean().sqrt() / (dense**2).mean().sqrt()
    assert found["error"] == pytest.approx(error.item(), rel=1e-5)
    own = activations(snn, None, images(), 8)["1"]
    assert own["error"] == pytest.approx(found["error"], rel=1e-5)
    pairs = {(float(f"{a:.4g}"), float(f"{b:.4g}")) for a, b in both[:, : dense[:16].numel()].T.tolist()}
    assert 0 < len(found["points"]) <= 300 and all((a, b) != (0, 0) for a, b in found["points"])
    assert all(any(abs(a - x) <= 2e-3 and b == y for x, y in pairs) for a, b in found["points"][:20])


def test_a_planted_fault_stands_out():
    model = net()
    snn = fastsnn.convert(model, images(), timesteps=16)
    before = activations(snn, model, images(), 16)
    snn.program.neurons["4"].initial_potential.add_(2**23)
    snn.forget()
    after = activations(fastsnn_reloaded(snn), model, images(), 16)
    assert after["1"] == before["1"] and after["4"]["error"] > before["4"]["error"]


def fastsnn_reloaded(snn):
    """Weights and potentials that were edited in place are seen after `load_state_dict`."""
    snn.load_state_dict(snn.state_dict())
    return snn


def test_what_cannot_be_compared():
    model = net()
    snn = fastsnn.convert(model, images(), timesteps=4)
    reasons = {
        "precision int32 holds no activations; give the dense network": None,
        "the dense network has other activations than the one that was converted": nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 3)
        ),
    }
    for reason, dense in reasons.items():
        assert activations(snn, dense, images(4), 4) == {name: {"not_measurable": reason} for name in ("1", "4")}

    class Untraceable(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    (found, _) = activations(snn, Untraceable(), images(4), 4).values()
    assert found["not_measurable"].startswith("the dense network cannot be traced: Untraceable")


def test_a_layer_that_never_fires_has_no_correlation():
    model = net()
    with torch.no_grad():
        model[3].bias.fill_(-100)
    snn = fastsnn.convert(model, images(), timesteps=4)
    assert "one and the same activation" in activations(snn, model, images(4), 4)["4"]["not_measurable"]
