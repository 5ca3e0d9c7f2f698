"""LTB's thresholds against its iteration written with hooks, and the late read-out against spike counts."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.errors import ConversionError
from fastsnn.methods import build
from fastsnn.reading import Reading


def net(*more):
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)]
    return nn.Sequential(*layers, *more).eval()


def images(n=40):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def balanced(model, batches, iterations, rate):
    """The iteration with hooks on the ReLUs of the dense network."""
    thetas = {"1": torch.zeros(5), "3": torch.zeros(4)}

    def clip(name):
        def hook(module, args, out):
            theta = thetas[name].reshape(-1, 1, 1)
            thetas[name] = thetas[name] + 2 * rate * (out - theta).clamp(min=0).mean((0, 2, 3))
            return torch.minimum(out, theta)

        return hook

    hooks = [model[int(name)].register_forward_hook(clip(name)) for name in thetas]
    with torch.no_grad():
        for i in range(iterations):
            model(batches[i % len(batches)])
    for hook in hooks:
        hook.remove()
    return thetas


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_thresholds_are_those_of_the_iteration(rate):
    model, batches = net(), list(images().split(16))
    snn = fastsnn.convert(model, batches, method="ltb", iterations=7, rate=rate)
    for name, theta in balanced(model, batches, 7, rate).items():
        # seven sums of at most 576 float32 numbers in another order; a channel that is never active gets another's
        active = theta > 0
        assert torch.allclose(snn.thresholds[name][active], theta[active], rtol=1e-5) and active.sum() >= 3
    other = fastsnn.convert(model, batches, method="ltb", iterations=8, rate=rate)
    assert not torch.allclose(other.thresholds["1"], snn.thresholds["1"], rtol=1e-5)


def test_few_activations_are_clipped_in_the_end():
    model = net()
    snn = fastsnn.convert(model, images(), method="ltb", iterations=100)
    with torch.no_grad():
        first = model[1](model[0](images())).movedim(1, -1)
    clipped = (first - snn.thresholds["1"]).clamp(min=0).mean() / first.mean()
    assert clipped < 0.02
    assert str(snn.method) == "ltb(threshold=balanced per channel, initial potential=0.5)"


@pytest.mark.parametrize("precision", ["int32", "float64"])
@pytest.mark.parametrize("steps", [1, 3, 5, 16, 40])
def test_the_output_is_the_mean_over_what_is_read(precision, steps):
    model, x = net(), images(6)
    snn = fastsnn.convert(model, images(), method="ltb", timesteps=16, precision=precision)
    snn.reading = Reading(delay=7)
    spikes = snn.spikes(x, steps)["3"].unpack()[0].double()
    (over_time,) = [snn.logits_over_time(x, steps)]
    for t in range(1, steps + 1):
        s = min(7, max(t - 4, 0))
        mean = spikes[s:t].mean(0) * snn.thresholds["3"].double()
        with torch.no_grad():
            expected = model.double()[5](mean.movedim(-1, 1).flatten(1))
        # float32 sums of 16 spikes times weights, and once more the difference of two of them
        assert torch.allclose(over_time[t - 1].double(), expected, atol=1e-5), t
    assert torch.equal(snn(x, steps), over_time[-1])
    snn.reading = Reading()
    assert steps < 5 or not torch.allclose(snn(x, steps), over_time[-1], atol=1e-5)


def test_how_long_spikes_take_to_get_through():
    method = build("ltb")
    units = {"a": torch.tensor([2.0, 4.0]), "b": torch.tensor(3.0)}
    means = {"a": torch.tensor([0.1, 0.5]), "b": torch.tensor([0.25, 0.2])}
    # the channel with the largest mean: half of 4 at 0.5 a step, half of 3 at 0.25
    assert method.delay(units, means) == 4 + 6
    assert build("ltb", delayed=False).delay(units, means) == 0


def test_the_delay_is_kept_and_used(tmp_path):
    model, x = net(), images()
    snn = fastsnn.convert(model, x, method="ltb", timesteps=16)
    assert snn.reading.delay == snn.calibration.reading.delay > 0
    again = fastsnn.convert(model, snn.calibration.save(tmp_path / "c.safetensors"))
    assert again.reading == snn.reading and torch.equal(again(x), snn(x))
    labels = torch.arange(40) % 3
    curve = snn.accuracy_over_time([(x, labels)], progress=False)
    profile = fastsnn.profile(snn, [(x, labels)], rounds=3, budget=0.1, progress=False)
    assert profile.document["accuracy"]["curves"][0]["accuracy"] == curve.tolist()


def test_what_ltb_refuses():
    with pytest.raises(ConversionError, match="an output that is read late must be affine in the spikes, but 6 is not"):
        fastsnn.convert(net(nn.Softmax(1)), images(), method="ltb")
    assert fastsnn.convert(net(nn.Softmax(1)), images(), method="ltb", delayed=False).reading == Reading()
    with pytest.raises(ValueError, match="takes neither threshold nor per_channel"):
        build("ltb", threshold="max")
    with pytest.raises(ValueError, match="takes neither threshold nor per_channel"):
        build("ltb", per_channel=False)
    for more in ({"iterations": 0}, {"rate": 0}, {"rate": 2}):
        with pytest.raises(ValueError, match="ltb needs iterations of at least 1 and a rate above 0"):
            build("ltb", **more)
    with pytest.raises(TypeError, match="method ltb reads the calibration images several times"):
        fastsnn.convert(net(), iter([images()]), method="ltb")
