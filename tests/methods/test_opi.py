"""OPI's thresholds and initial potentials against plain definitions of them."""

import numpy as np
import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.convert.statistics import BINS, Activation
from fastsnn.methods import initial, thresholds
from fastsnn.methods.opi import OPI


def activations(n=4000, channels=3, seed=0):
    """[n, channels] of ReLU outputs, channels of different scales, about a third of them zero."""
    x = torch.randn(n, channels, generator=torch.Generator().manual_seed(seed)) + 0.4
    return x.clamp(min=0) * torch.tensor([0.01, 1.0, 300.0])[:channels]


def seen(values, batch=None):
    found = Activation()
    for part in values.split(batch or len(values)):
        found.update(part)
    return found


def bin_width(values):
    # the range may be up to twice the largest value
    return 2 * values.amax(0) / BINS


# ---- statistics


def test_the_largest_value_is_exact():
    values = activations()
    for batch in (1, 7, 1000):
        assert torch.equal(seen(values, batch).largest, values.amax(0))
        assert torch.equal(thresholds.parse("max")(seen(values, batch), 8), values.amax(0))


def test_every_value_is_counted_once():
    values = activations()
    for batch in (1, 64, None):
        found = seen(values, batch)
        assert found.count == len(values)
        assert torch.equal(found.counts.sum(1), (values > 0).sum(0).double())
        assert found.pooled().count == values.numel()
        assert found.pooled().counts.sum() == (values > 0).sum()


@pytest.mark.parametrize("percent", [40.0, 90.0, 99.0, 99.9, 100.0])
@pytest.mark.parametrize("batch", [None, 1, 37, 4000], ids=lambda batch: f"batch{batch}")
def test_percentiles_are_numpys_within_a_bin(percent, batch):
    values = activations()
    wanted = torch.from_numpy(np.percentile(values.numpy(), percent, axis=0))
    got = thresholds.parse(f"percentile:{percent}")(seen(values, batch), 8)
    assert ((got - wanted).abs() <= bin_width(values)).all()
    assert (got <= values.amax(0)).all()


def test_a_layer_as_a_whole_has_the_percentile_of_all_its_values():
    values = activations() / torch.tensor([0.01, 1.0, 300.0]) * torch.tensor([1.0, 2.0, 3.0])
    whole = seen(values, 100).pooled()
    assert whole.largest.item() == values.max().item()
    for percent in (50.0, 99.0):
        wanted = np.percentile(values.numpy(), percent)
        # a value may change its bin once more when the channels are joined
        assert abs(whole.percentile(percent).item() - wanted) <= 2 * bin_width(values.reshape(-1, 1)).item()


def test_how_a_stream_is_cut_does_not_matter():
    values = activations(4096)
    # the largest value comes late, so that the range has to grow several times
    values = values[values.amax(1).argsort()]
    whole = seen(values)
    for batch in (1, 5, 512):
        parts = seen(values, batch)
        for percent in (60, 95, 99.9):
            assert ((parts.percentile(percent) - whole.percentile(percent)).abs() <= 2 * bin_width(values)).all()
        a, b = (thresholds.parse("mse")(found, 8) for found in (parts, whole))
        assert ((a - b).abs() / whole.largest).max() < 0.03


def test_positions_count_like_samples():
    values = activations(4800)
    assert torch.equal(seen(values.reshape(12, 20, 20, 3)).counts, seen(values).counts)


# ---- rules


def error(theta, values, T):
    """Mean squared error of T steps of an IF neuron that starts at theta/2, for constant currents."""
    return (values - theta / T * np.clip(np.floor(values * T / theta + 0.5), 0, T)).__pow__(2).mean()


@pytest.mark.parametrize("T", [1, 4, 16, 64])
def test_least_squares_is_the_best_of_a_brute_force_search(T):
    values = activations(1500)
    got = thresholds.parse("mse")(seen(values), T)
    for channel, theta in enumerate(got.tolist()):
        column = values[:, channel].double().numpy()
        trials = column.max() * np.arange(1, 101) / 100
        best = min(error(trial, column, T) for trial in trials)
        # the histogram rounds values to its bins, a small part of the error that is left
        assert error(theta, column, T) <= best * 1.02 + 1e-7 * column.max() ** 2


def test_least_squares_approaches_the_largest_with_time():
    found = seen(activations())
    short, long = (thresholds.parse("mse")(found, T) for T in (1, 256))
    assert (short < long).all() and (long > 0.95 * found.largest).all()


def test_thresholds_are_positive_and_none_is_far_below_the_others():
    theta = thresholds.positive(torch.tensor([0.0, 0.0, 1.0, 50.0]), torch.tensor([0.0, 3.0, 2.0, 60.0]))
    assert theta.tolist() == [50, 3, 1, 50]
    assert thresholds.positive(torch.zeros(2), torch.tensor([0.0, 2.0])).tolist() == [2, 2]
    assert torch.equal(thresholds.positive(torch.zeros(3), torch.zeros(3)), torch.ones(3))


@pytest.mark.parametrize("rule", ["max", "percentile:50", "mse", "bound"])
def test_a_bound_is_the_threshold_whatever_the_rule(rule):
    for bound in (torch.tensor(6.0), torch.tensor([1.0, 2.0, 3.0])):
        assert torch.equal(OPI(threshold=rule).threshold(seen(activations()), bound, 8), bound)


def test_per_layer_or_per_channel():
    found = seen(activations())
    assert OPI(threshold="max").threshold(found, None, 8).shape == (3,)
    whole = OPI(threshold="max", per_channel=False).threshold(found, None, 8)
    assert whole.ndim == 0 and whole == found.largest.max()


# ---- initial potentials


def test_numbers_are_taken_as_they_are():
    for spec in (0, 0.5, -1.25, "0.3"):
        assert initial.potential(initial.check(spec), (4,), torch.Generator(), None) == float(spec)


def test_random_potentials_have_their_distribution_and_their_seed():
    def draw(kind, seed):
        return OPI(initial_potential=kind, seed=seed).initial_potential((100, 200), None)

    for kind, spread in (("uniform", 12**-0.5), ("gaussian", 0.25)):
        v = draw(kind, 1)
        assert v.shape == (100, 200)
        assert abs(v.mean() - 0.5) < 0.01 and abs(v.std() - spread) < 0.01
        assert torch.equal(v, draw(kind, 1)) and not torch.equal(v, draw(kind, 2))
    assert 0 <= draw("uniform", 3).min() and draw("uniform", 3).max() < 1


def test_measured_takes_the_least_error():
    assert OPI(initial_potential="measured").initial_potential((4,), lambda c: (c - 0.35) ** 2) == 0.35


# ---- all of it in a network


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(3)
    layers = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(64, 5)).double(), torch.randn(40, 3, 10, 10).double()


def layer_errors(snn, x, T):
    """For each neuron layer the mean squared error of its rates against its clipped ReLU, in units of the threshold."""
    clipped = {}
    snn.program.dense(x.movedim(1, -1), watch=lambda layer, out: clipped.update({layer.name: out}) or None)
    return {k: (s.counts() / T - clipped[k]).square().mean().item() for k, s in snn.spikes(x, T).items()}


def test_measured_potentials_are_no_worse_than_half(small):
    model, x = small
    options = {"timesteps": 4, "precision": "float64", "threshold": "percentile:99"}
    measured = fastsnn.convert(model, x, initial_potential="measured", **options)
    half = fastsnn.convert(model, x, **options)
    chosen = [v.item() for v in measured.initial_potentials.values()]
    assert all(v in initial.GRID for v in chosen)
    errors, reference = layer_errors(measured, x, 4), layer_errors(half, x, 4)
    # the first layer has the same currents in both, so its own best cannot be worse
    first = next(iter(errors))
    assert errors[first] <= reference[first] + 1e-9
    assert sum(errors.values()) <= sum(reference.values()) * 1.02


def test_half_a_threshold_is_better_than_none(small):
    model, x = small
    wanted = model(x).detach()
    gaps = {}
    for start in (0.0, 0.5):
        snn = fastsnn.convert(model, x, timesteps=8, initial_potential=start, threshold="max", precision="float64")
        gaps[start] = (snn(x) - wanted).square().mean().item()
    assert gaps[0.5] < gaps[0.0]


def test_the_same_seed_gives_the_same_network(small):
    model, x = small

    def starts(seed):
        snn = fastsnn.convert(model, x, timesteps=6, initial_potential="uniform", seed=seed)
        return [*snn.initial_potentials.values(), snn(x[:4])]

    first, again, other = starts(5), starts(5), starts(6)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_method_can_be_built_before(small):
    model, x = small
    method = OPI(threshold="percentile:99", initial_potential=0.4)
    built = fastsnn.convert(model, x, method=method, timesteps=6)
    named = fastsnn.convert(model, x, timesteps=6, threshold="percentile:99", initial_potential=0.4)
    assert built.method is method and torch.equal(built(x), named(x))
    with pytest.raises(TypeError, match="go to the method"):
        fastsnn.convert(model, x, method=method, threshold="max")
