"""A fused network in a file is the same network: spikes to the last bit, streams, inputs of spikes, its report."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.fuse import FusedNetwork
from fastsnn.nn import IF, LIF, Conv2dIF, LinearIF, PerStep, SpikingAvgPool2d

T = 12


def livelier(model: nn.Module) -> nn.Module:
    """With weights that make every layer fire."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


def network(neurons: IF, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    layers = (Conv2dIF(2, 6, 3, padding=1, neurons=neurons), SpikingAvgPool2d(2), PerStep(nn.Flatten()))
    model = nn.Sequential(*layers, LinearIF(6 * 16, 5, neurons=IF(torch.rand(5) + 0.5, reset="hard", comparator=">")))
    return livelier(model).to(dtype)


def same(fused: FusedNetwork, path, x: torch.Tensor) -> FusedNetwork:
    """The network from its file, which gives the same and says the same of itself."""
    other = fastsnn.load(fused.save(path / "net.safetensors"))
    assert isinstance(other, FusedNetwork) and other.report == fused.report and str(other.report) == str(fused.report)
    trains = fused.spikes(x)
    for name, train in other.spikes(x).items():
        assert train.amplitudes == trains[name].amplitudes and 0 < train.firing_rate() < 1
        assert all(torch.equal(a, b) for a, b in zip(train.words, trains[name].words, strict=True)), name
    for a, b in zip(*(torch.utils._pytree.tree_leaves(net(x)) for net in (fused, other)), strict=True):
        assert a is b is None or torch.equal(a, b)
    return other


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("neurons", [IF(), LIF(0.8, 0.7)], ids=["IF", "LIF"])
def test_networks_of_fastsnn_nn(tmp_path, neurons, precision):
    dtype = getattr(torch, precision)
    x = torch.rand(T, 3, 2, 8, 8, dtype=dtype)
    other = same(fastsnn.fuse(network(neurons, dtype), x, precision=precision), tmp_path, x)
    first, state = other.run(x[:5])
    second, _ = other.run(x[5:], state)
    assert torch.equal(torch.cat([first, second]), other(x))
    assert torch.equal(other(x[0], timesteps=4), fastsnn.load(tmp_path / "net.safetensors")(x[0], timesteps=4))


def test_an_input_of_spikes_stays_one(tmp_path):
    x = (torch.rand(T, 3, 2, 8, 8) < 0.3).float()
    other = same(fastsnn.fuse(network(IF()), x, spikes=True), tmp_path, x)
    with pytest.raises(ValueError, match="fused for spikes, 0 or 1"):
        other(x / 2)


class Beside(nn.Module):
    """Gives what a network gives, and nothing beside it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return {"found": self.inner(x), "nothing": None}


def test_synapses_potentials_and_results_that_are_none(tmp_path):
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    torch.manual_seed(0)
    neurons = snntorch.Synaptic(alpha=0.7, beta=0.8, init_hidden=True)
    last = snntorch.Leaky(beta=0.9, init_hidden=True, output=True)
    model = Beside(nn.Sequential(nn.Linear(6, 8), neurons, nn.Linear(8, 4), last))
    livelier(model)
    x = torch.rand(T, 3, 6)
    found = same(fastsnn.fuse(model, x), tmp_path, x)(x)
    assert found["nothing"] is None and found["found"][1].shape == (T, 3, 4)


def test_several_spikes_a_step(tmp_path):
    layers = pytest.importorskip("sinabs.layers", reason="sinabs is not installed")
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8), layers.IAFSqueeze(batch_size=3), nn.Linear(8, 4), layers.IAFSqueeze(batch_size=3)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    x = torch.rand(T, 3, 6)
    same(fastsnn.fuse(model, x), tmp_path, x)
