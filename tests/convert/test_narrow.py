"""Weights of 8 bits, float16 and bfloat16: what is rounded, what stays wide and why, how many spikes that changes."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import _env
from fastsnn.convert.api import default_precision
from fastsnn.convert.mismatch import mismatch
from fastsnn.convert.narrow import LEAST, MOST, scale_of
from fastsnn.errors import ConversionError
from fastsnn.testing.compare import spikes_equal

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.c, self.out = nn.Conv2d(8, 6, 3, stride=2), nn.Linear(6 * 9, 4)

    def forward(self, x):
        x = self.a(x).relu()
        x = (self.b(x) + x).relu()
        return self.out(self.c(x).relu().flatten(1))


@pytest.fixture(scope="module")
def x():
    return torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Block().eval()


@pytest.fixture(scope="module")
def snns(model, x):
    return {p: fastsnn.convert(model, x, precision=p) for p in ("int32", "int8", "float32", *HALVES)}


def test_int8_layers_that_read_spikes(snns):
    first, second, third = snns["int8"].program.neurons.values()
    assert first.terms[0].weight.dtype == torch.int32
    for layer in (second, third):
        assert layer.terms[0].weight.dtype == torch.int8
        assert layer.bias.dtype == layer.threshold.dtype == layer.initial_potential.dtype == torch.int32
        assert layer.threshold.shape == (layer.shape[-1],)
        assert layer.threshold.min() >= LEAST and layer.threshold.max() <= MOST and not (layer.threshold % 2).any()
        # each channel uses its 8 bits
        assert layer.terms[0].weight.int().abs().flatten(1).amax(1).min() >= 125
    assert second.terms[1].weight.dtype == torch.int32, "a residual connection is no matrix product"
    assert "int32: reads numbers that are not spikes" in str(snns["int8"].report)


@pytest.mark.parametrize("precision", HALVES)
def test_half_layers_that_read_spikes(snns, precision):
    first, second, _ = snns[precision].program.neurons.values()
    exact = snns["float32"].program.neurons
    assert first.terms[0].weight.dtype == torch.float32
    for name, layer in snns[precision].program.neurons.items():
        assert layer.bias.dtype == layer.threshold.dtype == torch.float32
        if layer is not first:
            assert torch.equal(layer.terms[0].weight, exact[name].terms[0].weight.to(HALVES[precision]))
    assert second.terms[1].weight.dtype == torch.float32


@pytest.mark.parametrize("precision", ["int8", *HALVES])
def test_every_backend_and_batch_gives_the_same_spikes(snns, x, precision, monkeypatch):
    snn = snns[precision]
    whole = snn.spikes(x[:6])
    monkeypatch.setattr(_env, "BACKEND", "reference")
    wanted = snn.spikes(x[:6])
    for name, train in wanted.items():
        if precision == "int8":
            spikes_equal(train.words[0], whole[name].words[0], 16)
        else:
            # sums in another order, and potentials that lie within their rounding of the threshold
            assert (train.unpack() != whole[name].unpack()).double().mean() < 1e-3
    if precision == "int8":
        for name, train in snn.spikes(x[3:4]).items():
            assert torch.equal(train.unpack()[:, :, 0], wanted[name].unpack()[:, :, 3])


def test_the_report_says_how_many_spikes_rounding_changed(snns, x):
    for precision in ("int8", *HALVES):
        shares = mismatch(snns[precision].program, snns["float32"].program, x, 16)
        report = str(snns[precision].report)
        for name, share in shares.items():
            changed = snns[precision].spikes(x[:16])[name].unpack() != snns["float32"].spikes(x[:16])[name].unpack()
            assert share == pytest.approx(changed.double().mean().item())
            (row,) = [r for r in snns[precision].report.rows if r.layer == name]
            assert f"{share:.2%} of spikes changed by rounding" in row.remark and row.remark in report
    # 11, 8 and 8 bits: of two networks that differ in nothing else, the one with more bits changes fewer spikes
    late = list(snns["float32"].program.neurons)[-1]
    share = {p: mismatch(snns[p].program, snns["float32"].program, x, 16)[late] for p in HALVES}
    assert 0 < share["float16"] < share["bfloat16"] < 0.1
    assert mismatch(snns["float32"].program, snns["float32"].program, x, 40) == dict.fromkeys(shares, 0.0)


def test_nothing_is_said_of_precisions_that_do_not_round_further(snns):
    for precision in ("int32", "float32"):
        assert "changed by rounding" not in str(snns[precision].report)


def test_answers_stay_close(snns, x, model):
    wanted = snns["float32"](x)
    # the conversion itself is this far off, and rounding less
    conversion = (wanted - model(x)).abs().mean()
    for precision in ("int8", *HALVES):
        assert (snns[precision](x) - wanted).abs().mean() < conversion


def test_8_bits_that_are_too_few(model, x):
    program = fastsnn.convert(model, x, precision="float64").program
    layer = list(program.neurons.values())[1]
    layer.terms[0].weight[2, 0, 0, 0] = 100.0
    scale, why = scale_of(layer)
    assert scale[2] == 0 and "weights of channel 2 reach 100 thresholds, which leaves 0 steps" in why
    layer.terms[0].weight[2] = 0.0
    assert scale_of(layer)[1] is None


def test_a_weight_beyond_float16_stays_float32(x):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8),
                          nn.ReLU(), nn.Linear(8, 2)).eval()  # fmt: skip
    with torch.no_grad():
        model[2].weight[1, 1] = -1e6
    snn = fastsnn.convert(model, x, precision="float16")
    layers = list(snn.program.neurons.values())
    assert [la.terms[0].weight.dtype for la in layers] == [torch.float32, torch.float32, torch.float16]
    assert "is beyond float16" in str(snn.report)
    assert fastsnn.convert(model, x, precision="bfloat16").program.neurons["3"].terms[0].weight.dtype == torch.bfloat16


def test_a_network_without_such_a_layer(x):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    with pytest.raises(ConversionError, match='"int8" fits none of the layers: 1: reads numbers'):
        fastsnn.convert(model, x, precision="int8")
    # the default on a GPU takes every network
    snn = fastsnn.convert(model, x, precision="float16")
    assert torch.equal(snn(x), fastsnn.convert(model, x, precision="float32")(x))
    assert "float32: reads numbers that are not spikes" in str(snn.report)


def test_the_default_is_exact_on_a_cpu_and_float16_on_a_gpu(model, x):
    assert fastsnn.convert(model, x).precision == "int32"
    assert default_precision(torch.device("cuda", 1)) == "float16"
