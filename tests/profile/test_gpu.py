"""What a GPU counts is what a CPU counts; times, memory and joules are the GPU's. Waits for a machine that has one."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.profile.schema import missing

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

T = 8


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 48, 3)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(48 * 36, 10)).eval()


def images(n=40):
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", ["opi", "lcp", "parallel"])
def test_counts_are_those_of_the_cpu(model, method):
    x = images()
    snn = fastsnn.convert(model, x, method=method, timesteps=T, precision="int32")
    given = {"rounds": 3, "compile": False, "progress": False}
    labels = torch.arange(40) % 10
    on_cpu = fastsnn.profile(snn, [(x, labels)], dense=model, **given).document
    on_gpu = fastsnn.profile(snn.cuda(), [(x.cuda(), labels.cuda())], dense=model.cuda(), **given).document
    snn.cpu(), model.cpu()
    for here, there in zip(on_cpu["layers"], on_gpu["layers"], strict=True):
        for key in ("spikes", "operations", "spread", "raster", "bytes"):
            assert here[key] == there[key], (here["name"], key)
    assert on_cpu["accuracy"]["curves"][0]["spikes"] == on_gpu["accuracy"]["curves"][0]["spikes"]
    assert on_gpu["machine"]["gpu"] and on_gpu["network"]["device"].startswith("cuda")


def test_what_a_gpu_measures(model):
    x = images().cuda()
    snn = fastsnn.convert(model.cuda(), x, timesteps=T)
    document = fastsnn.profile(snn, x, dense=model, rounds=3, energy_seconds=1.0, progress=False).document
    model.cpu()
    spiking = document["memory"]["peak_bytes"]["spiking"]
    # at least the words of one layer: replayed graphs would show nothing
    assert spiking >= 40 * 32 * 256
    timed = {layer["name"]: layer["milliseconds"] for layer in document["layers"]}
    assert timed["2"] > 0 and timed["5"] > 0
    measured = document["energy"]["measured"]
    assert missing(measured) or all(run["gross_joules"] > 0 for run in measured["runs"])
    assert document["roofline"]["peaks"]["bytes_a_second"] > 1e11


def test_calibration_and_early_exit(model):
    x = images()
    on_cpu = fastsnn.convert(model, x, method="lcp", timesteps=T, precision="int32")
    on_gpu = fastsnn.convert(model.cuda(), x.cuda(), method="lcp", timesteps=T, precision="int32")
    model.cpu()
    for name, correction in on_cpu.calibration.corrections.items():
        # thresholds come from float32 activations, which a GPU sums in another order
        assert torch.allclose(correction.shift, on_gpu.calibration.corrections[name].shift, atol=1e-3)
    exits, again = (fastsnn.early_exit(s, d, 0.3) for s, d in ((on_cpu, x), (on_cpu.cuda(), x.cuda())))
    assert torch.equal(exits.steps, again.steps.cpu())
