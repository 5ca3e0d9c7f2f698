"""Networks that were trained with quantised activations convert: QCFS as its authors write it, and its kin."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.errors import ConversionError

L = 8


class Floor(torch.autograd.Function):
    """A floor with a straight-through gradient, as training code has it."""

    @staticmethod
    def forward(ctx, x):
        return x.floor()

    @staticmethod
    def backward(ctx, grad):
        return grad


class QCFS(nn.Module):
    """Clamps, then floors, with a learned bound."""

    def __init__(self):
        super().__init__()
        self.bound = nn.Parameter(torch.tensor([1.7]))

    def forward(self, x):
        x = torch.clamp(x / self.bound, 0, 1)
        return Floor.apply(x * L + 0.5) / L * self.bound


class Older(QCFS):
    """Floors, then clamps."""

    def forward(self, x):
        x = Floor.apply(x * L / self.bound + 0.5) / L
        return torch.clamp(x, 0, 1) * self.bound


class Rounded(QCFS):
    """A fake quantiser: round and a ReLU6-like bound."""

    def forward(self, x):
        step = self.bound / L
        return torch.clamp(torch.round(x / step), 0, L) * step


class Unshifted(QCFS):
    """Floors without the half (CASC): half a level less on average, but where it is 0."""

    def forward(self, x):
        return torch.floor(torch.clamp(x / self.bound, 0, 1) * L) / L * self.bound


def net(activation):
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 6, 3), activation(), nn.Conv2d(6, 6, 3), activation(), nn.Flatten(), nn.Linear(96, 3)]
    return nn.Sequential(*layers).eval()


def images(n=32):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("activation", [QCFS, Older, Rounded])
def test_what_is_left_is_the_clipped_relu(activation):
    model = net(activation)
    clipped = nn.Sequential(*[nn.Hardtanh(0, 1.7) if isinstance(m, QCFS) else m for m in model]).eval()
    quantised, plain = (fastsnn.convert(m, images(), timesteps=L, precision="float64") for m in (model, clipped))
    for a, b in zip(quantised.program.neurons.values(), plain.program.neurons.values(), strict=True):
        assert torch.allclose(a.bias, b.bias, atol=1e-6)
        assert torch.allclose(a.terms[0].weight, b.terms[0].weight, atol=1e-6)


@pytest.mark.parametrize("activation", [QCFS, Older, Rounded])
def test_parallel_neurons_with_as_many_steps_as_levels_are_the_trained_network(activation):
    """The first layer has all of its levels: a theorem of Bu et al., ICLR 2022, for every input."""
    model = net(activation)
    snn = fastsnn.convert(model, images(), method="parallel", timesteps=L, precision="float64")
    with torch.no_grad():
        trained = model.double()[:4](images().double())
    spikes = list(snn.spikes(images()).values())[1].counts().movedim(-1, 1)
    # a rounded number and its half may differ at ties of float32 weights in float64
    same = (spikes.double() * 1.7 / L - trained).abs() < 1e-5
    assert same.double().mean() > 0.9999


def test_a_floor_that_moves_zero_is_refused_after_a_clamp():
    with pytest.raises(ConversionError, match="only where 0 stays 0 on average"):
        fastsnn.convert(net(Unshifted), images())


def test_rounding_elsewhere_is_refused():
    class Rounds(nn.Module):
        def forward(self, x):
            return torch.floor(x)

    for layers in (
        [nn.Conv2d(2, 3, 3), Rounds(), nn.Conv2d(3, 3, 3), nn.ReLU()],
        [nn.Conv2d(2, 3, 3), nn.ReLU(), Rounds()],
    ):
        with pytest.raises(ConversionError, match="floor has a spiking form only beside a clamp from 0 to a bound"):
            fastsnn.convert(nn.Sequential(*layers).eval(), images())
