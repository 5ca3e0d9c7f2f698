"""What methods are known to do to single neurons, on random currents: the study's figures, to their two digits."""

import pytest
import torch

from fastsnn.engine import USED_UP
from fastsnn.ops.emit import emit
from fastsnn.ops.emit.reference import uniform
from fastsnn.ops.if_constant import if_constant
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.pack import counts
from fastsnn.ops.restart import restart

NEURONS = 100_000


def uneven(T):
    """Currents [T, N] of mean 0.25 and standard deviation 0.6 thresholds, and the counts that their sums allow."""
    currents = 0.25 + 0.6 * torch.randn(T, NEURONS, generator=torch.Generator().manual_seed(T))
    return currents, (currents.sum(0) + 0.5).floor().clamp(0, T)


def share(found, ideal):
    return (found == ideal).double().mean().item()


# three standard errors of a share of 100,000 are at most 0.005, and as much again for what was rounded to two digits
@pytest.mark.parametrize("T, half, zero", [(4, 0.83, 0.64), (8, 0.75, 0.59), (16, 0.69, 0.55)])
def test_plain_neurons_miss_counts_where_input_is_uneven(T, half, zero):
    currents, ideal = uneven(T)
    for start, known in ((0.5, half), (0.0, zero)):
        assert share(counts(if_steps(currents, 1.0, start)[0]), ideal) == pytest.approx(known, abs=0.01)


@pytest.mark.parametrize("T, known", [(4, 0.94), (8, 0.84), (16, 0.74)])
def test_srp_silences_neurons_that_should_not_have_fired(T, known):
    currents, ideal = uneven(T)
    words, v = if_steps(currents, 1.0, 0.5)
    kept = torch.where(v > USED_UP, counts(words), 0)
    assert share(kept, ideal) == pytest.approx(known, abs=0.01)


@pytest.mark.parametrize("T, known", [(4, 0.997), (8, 0.978), (16, 0.944)])
def test_cos_corrects_a_spike_too_many_or_too_few(T, known):
    currents, ideal = uneven(T)
    words, potentials, v = [], [], torch.tensor(0.5)
    for current in currents:
        word, v = if_steps(current[None], 1.0, v)
        words.append(word)
        potentials.append(v)
    found = counts(if_steps(currents, 1.0, restart(words, potentials, 1.0, 0.5))[0])
    # three standard errors of a share this large are below 0.002
    assert share(found, ideal) == pytest.approx(known, abs=0.003)


@pytest.mark.parametrize("T", [4, 8, 16, 32])
def test_parallel_neurons_never_miss(T):
    currents, ideal = uneven(T)
    words, v = if_steps(currents, 1.0, 0.5)
    # a sum within float32 rounding of a whole number may count either way: 1e-6 of the neurons for each step
    assert share(counts(emit(words, v, T)), ideal) > 1 - 1e-4
    assert share(counts(words), ideal) < 0.9


@pytest.mark.parametrize("T, known", [(4, 0.81), (8, 0.79), (16, 0.77)])
def test_probabilistic_neurons_miss_counts_by_chance(T, known):
    currents, ideal = uneven(T)
    words, v = if_steps(currents, 1.0, 0.0)
    drawn, again, other = (counts(emit(words, v, T, kind="random", seed=seed)) for seed in (3, 3, 4))
    assert share(drawn, ideal) == pytest.approx(known, abs=0.01)
    assert torch.equal(drawn, again) and not torch.equal(drawn, other)


def test_hashed_numbers_are_uniform_and_independent():
    index = torch.arange(NEURONS)
    first, other, later = uniform(index, 1, 0), uniform(index, 2, 0), uniform(index, 1, 1)
    for numbers in (first, other, later):
        tenths = torch.bincount((numbers * 10).long(), minlength=10).double() / NEURONS
        # four standard errors of a share of 0.1
        assert (tenths - 0.1).abs().max() < 0.004 and 0 <= numbers.min() and numbers.max() < 1
    for a, b in ((first, other), (first, later), (first[1:], first[:-1])):
        assert torch.corrcoef(torch.stack([a, b]))[0, 1].abs() < 0.013
    # Murmur3's last steps of 1 * 0x9E3779B1 + 0x85EBCA6B, by hand
    x = (0x9E3779B1 + 0x85EBCA6B) % 2**32
    x = ((x ^ x >> 16) * 0x85EBCA6B) % 2**32
    x = ((x ^ x >> 13) * 0xC2B2AE35) % 2**32
    assert uniform(torch.tensor([1]), 1, 0).item() == (x ^ x >> 16) / 2**32


@pytest.mark.parametrize("T", [4, 8, 16, 32])
@pytest.mark.parametrize("start, known", [("half", 1 / 12), ("uniform", 1 / 6), ("zero", 1 / 3), ("quarter", 0.1457)])
def test_errors_of_initial_potentials_under_constant_currents(T, start, known):
    g = torch.Generator().manual_seed(0)
    # whole cells of the quantisation, away from both ends, where counts are clipped
    currents = (1 + torch.rand(NEURONS, generator=g, dtype=torch.float64) * (T - 2)) / T
    v = {"half": 0.5, "zero": 0.0, "quarter": 0.25, "uniform": torch.rand(NEURONS, generator=g, dtype=torch.float64)}
    words, _ = if_constant(currents, T, 1.0, v[start])
    square = (counts(words).double() / T - currents).square().mean().item() * T**2
    # in units of theta^2 / T^2; three standard errors of a mean of 100,000 squares are below 1 % of it
    assert square == pytest.approx(known, rel=0.015)
