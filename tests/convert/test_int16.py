"""Sixteen bits: where a layer fits, where it has to stay in 32 and says why, and its spikes on every backend."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import _env
from fastsnn.convert.quantise16 import LEAST, MOST, Range, scale_of
from fastsnn.errors import ConversionError
from fastsnn.testing.compare import spikes_equal


def network(gain=1.0):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 9, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)
    model = nn.Sequential(*layers, nn.Conv2d(9, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 4)).eval()
    with torch.no_grad():
        model[2].weight *= gain
    return model


@pytest.fixture(scope="module")
def x():
    return torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def snn(x):
    return fastsnn.convert(network(), x, precision="int16")


def test_layers_that_read_spikes_are_in_16_bits(snn):
    first, second, third = snn.program.neurons.values()
    assert first.bias.dtype == torch.int32
    for layer in (second, third):
        assert layer.bias.dtype == layer.threshold.dtype == layer.terms[0].weight.dtype == torch.int16
        assert layer.threshold.shape == (layer.shape[-1],)
        assert layer.threshold.min() >= LEAST and layer.threshold.max() <= MOST
    assert "int32: reads numbers that are not spikes" in str(snn.report)


def test_every_backend_and_batch_gives_the_same_spikes(snn, x, monkeypatch):
    whole = snn.spikes(x[:6])
    monkeypatch.setattr(_env, "BACKEND", "reference")
    for name, train in snn.spikes(x[:6]).items():
        spikes_equal(train.words[0], whole[name].words[0], 16)
    for i in range(2):
        for name, train in snn.spikes(x[i : i + 1]).items():
            assert torch.equal(train.unpack()[:, :, 0], whole[name].unpack()[:, :, i])


def test_it_stays_close_to_32_bits(snn, x):
    wanted = fastsnn.convert(network(), x, precision="int32")
    for name, train in snn.spikes(x).items():
        # a weight is off by half of 1/2048 of a threshold at most: over 81 inputs, 9 of which spike, and 16 steps that
        # is well below a tenth of a threshold, and few potentials are so close to it
        differ = (train.unpack() != wanted.spikes(x)[name].unpack()).float().mean()
        assert differ < 0.02
    assert (snn(x) - wanted(x)).abs().max() < 0.1 * wanted(x).abs().max()


def test_the_range_has_twice_the_room_that_calibration_needed(snn, x):
    """The same potentials followed step by step in 64 bits: no more than half of what 16 bits hold."""
    from fastsnn.convert.quantise16 import measure

    for name, found in measure(snn.program, x, 16).items():
        layer = snn.program.neurons[name]
        if layer.bias.dtype == torch.int16:
            # rounding adds what the margin is for
            assert (found.potential * layer.threshold).max() <= 2**14 * 1.1
            assert (found.current * layer.threshold).max() <= 2**13 * 1.1


def test_a_layer_that_would_overflow_stays_in_32_bits_and_says_why(x):
    model = network(1.0)
    with torch.no_grad():
        # one output that is inhibited by a thousand thresholds
        model[2].weight[4] = -1000.0
        model[2].bias[4] = 0.5
    snn = fastsnn.convert(model, x, precision="int16", threshold="max")
    second = list(snn.program.neurons.values())[1]
    assert second.bias.dtype == torch.int32
    text = next(row.remark for row in snn.report.rows if row.layer == second.name)
    assert text.startswith("int32: 16 bits would overflow: ") and "of channel 4 reach" in text


def test_a_network_that_fits_nowhere_is_refused_with_every_reason(x):
    with pytest.raises(ConversionError, match=r'precision "int16" fits none of the layers: 1, 3.*: hard reset'):
        fastsnn.convert(network(), x, precision="int16", reset="hard")


@pytest.mark.parametrize(
    "potential, current, weight, scale",
    [(1.0, 1.0, 0.5, MOST), (8.0, 1.0, 0.5, 2048), (1.0, 4.0, 0.5, 2048), (1.0, 1.0, 16.0, 2046), (129.0, 1, 1, None)],
)
def test_the_scale_follows_what_is_reached(snn, potential, current, weight, scale):
    layer = fastsnn.convert(network(), torch.randn(8, 3, 8, 8), precision="float64").program.neurons
    layer = list(layer.values())[1]
    layer.terms[0].weight = torch.full_like(layer.terms[0].weight, weight)
    channels = torch.ones(layer.shape[-1], dtype=torch.float64)
    found, why = scale_of(layer, Range(potential * channels, current * channels))
    if scale is None:
        assert why is not None and "potentials of channel 0 reach 129 thresholds" in why
    else:
        assert why is None and found.tolist() == [scale] * len(channels)


class Residual(nn.Module):
    """Layers of vectors with a sum between them."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 9), nn.Linear(9, 9), nn.Linear(9, 3)

    def forward(self, x):
        x = self.a(x).relu()
        return self.c((self.b(x) + x).relu())


def test_residuals_of_vectors_are_the_same_without_kernels(monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(20, 6)
    snn = fastsnn.convert(Residual().eval(), x, precision="int16")
    assert list(snn.program.neurons.values())[1].bias.dtype == torch.int16
    fast = snn.spikes(x)
    monkeypatch.setattr(_env, "BACKEND", "reference")
    for name, train in snn.spikes(x).items():
        assert torch.equal(train.words[0], fast[name].words[0])
