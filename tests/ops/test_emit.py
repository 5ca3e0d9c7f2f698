"""emit: spikes of neurons that know all of their input: as many as it allows, in order or at random."""

from fractions import Fraction
from math import floor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import call_directly, compiles, dense, forced_backends_answer, keeps_the_contract, pairs, refuses, words_of

from fastsnn.ops.emit import emit, op
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.pack import counts
from fastsnn.testing.cases import lattice, random_words
from fastsnn.testing.compare import spikes_equal

DOOR = torch.ops.fastsnn.emit
FIRST, SECOND = 0x85EBCA6B, 0xC2B2AE35


def arguments(**change):
    return {
        "words": torch.zeros(2, 3, dtype=torch.uint8),
        "v": torch.zeros(2, 3),
        "threshold": torch.ones(()),
        "T": 4,
        "kind": "ordered",
        "seed": 0,
    } | change


def number(neuron, seed, t):
    """The number in [0, 1) of a neuron's step, by the hash in Python's own whole numbers."""
    x = (neuron * 0x9E3779B1 + seed * FIRST + t * 0x27D4EB2F) % 2**32
    x = ((x ^ x >> 16) * FIRST) % 2**32
    x = ((x ^ x >> 13) * SECOND) % 2**32
    return (x ^ x >> 16) / 2**32


def naive(words, v, threshold, T, kind, seed):
    """One neuron after the other, quotients as fractions, or as Python's floats where spikes are drawn."""
    v, theta = (x.cpu().double().expand(words.shape).flatten().tolist() for x in (v, threshold))
    found = []
    for n, spikes in enumerate(dense(words, T).sum(0).flatten().tolist()):
        if kind == "ordered":
            count = min(max(spikes + floor(Fraction(v[n]) / Fraction(theta[n])), 0), T)
            found.append([t < count for t in range(T)])
            continue
        left, fires = v[n] / theta[n] + spikes, []
        for t in range(T):
            fires.append(number(n, seed, t) < left / (T - t))
            left -= fires[-1]
        found.append(fires)
    return words_of(torch.tensor(found).reshape(*words.shape, T).movedim(-1, 0))


@pairs("emit", op.BACKENDS)
def test_matches_the_neuron_written_out(backend, case, device):
    args = case.arguments(device)
    out = call_directly(backend, args)
    assert out.dtype == args[0].dtype and out.device == args[0].device
    spikes_equal(out.cpu(), naive(*args), args[3])


@pytest.mark.parametrize("dtype", op.VALUES)
@pytest.mark.parametrize("backend", op.BACKENDS, ids=lambda b: b.name)
def test_quotients_next_to_whole_numbers_are_rounded_down(backend, dtype, device):
    g = torch.Generator().manual_seed(0)
    whole = torch.arange(-34, 35)[:, None]
    if dtype == torch.int32:
        threshold = torch.randint(1, 2**24, (40,), generator=g, dtype=dtype)
        exact = (whole * threshold).to(dtype)
        near = [exact - 1, exact, exact + 1]
    else:
        threshold = (torch.rand(40, generator=g, dtype=torch.float64) * 10 + 0.1).to(dtype)
        exact = whole.to(dtype) * threshold
        near = [torch.nextafter(exact, torch.full_like(exact, end)) for end in (-1e9, 1e9)] + [exact]
        near.append(torch.full_like(exact, -1e-30))
    v = torch.cat(near)
    words = random_words(g, v.shape, 32)
    out = call_directly(backend, (words.to(device), v.to(device), threshold.to(device), 32, "ordered", 0))
    spikes_equal(out.cpu(), naive(words, v, threshold, 32, "ordered", 0), 32)


@pytest.mark.parametrize("seed", [-1, 2**31 - 1, 2**31, 2**40, 3**70])
@pytest.mark.parametrize("backend", op.BACKENDS, ids=lambda b: b.name)
def test_any_whole_number_is_a_seed(backend, seed, device):
    words, v = torch.zeros(130, dtype=torch.uint8, device=device), torch.full((130,), 2.5, device=device)
    one = torch.ones((), device=device)
    out = call_directly(backend, (words, v, one, 7, "random", seed))
    spikes_equal(out.cpu(), naive(words, v, one, 7, "random", seed), 7)


def test_hand_example():
    words = torch.tensor([0b0101, 0, 0b1111, 0b0001, 0], dtype=torch.uint8)
    # 2 + 1, 0 - 1, 4 + 1, 1 - 1, 0 + 0 thresholds of 4
    v = torch.tensor([7, -1, 4, -4, 3], dtype=torch.int32)
    assert emit(words, v, 4, 4).tolist() == [0b0111, 0, 0b1111, 0, 0]
    # nothing is left to chance where all steps are wanted, or none
    v = torch.tensor([8, 0, 0, -4, -9], dtype=torch.int32)
    assert emit(words, v, 4, 4, kind="random", seed=5).tolist() == [0b1111, 0, 0b1111, 0, 0]


@given(st.integers(1, 32), st.integers(0, 2**32), st.sampled_from(op.VALUES))
def test_laws(T, seed, dtype):
    g = torch.Generator().manual_seed(seed)
    currents = lattice(g, (T, 50), -8, 12, dtype)
    threshold, start = (lattice(g, (50,), *ends, dtype) for ends in ((4, 12), (0, 4)))
    words, v = if_steps(currents, threshold, start)
    total = (currents.double().sum(0) + start.double()) / threshold.double()
    ordered, drawn = (emit(words, v, T, threshold, kind=kind, seed=seed) for kind in op.KINDS)
    spikes = dense(ordered, T)
    assert torch.equal(spikes.sum(0), total.floor().clamp(0, T).long()) and (spikes[1:] <= spikes[:-1]).all()
    # the count is off by less than one from where on the probability is no longer clipped
    inside = (total >= 0) & (total <= T)
    assert ((counts(drawn) - total)[inside].abs() < 1 + 1e-9).all()
    assert torch.equal(drawn, emit(words, v, T, threshold, kind="random", seed=seed))
    assert ordered.dtype == drawn.dtype == words.dtype


def test_keeps_the_contract_with_torch():
    for T, shape in ((4, (2, 3)), (9, (63,)), (32, (3, 0))):
        words, v = random_words(torch.Generator().manual_seed(T), shape, T), torch.randn(shape)
        for kind in op.KINDS:
            keeps_the_contract(DOOR, (words, v, torch.ones(shape[-1:]), T, kind, 3))
    turned = torch.zeros(2, 3, dtype=torch.uint8).T, torch.zeros(2, 3, dtype=torch.int32).T
    keeps_the_contract(DOOR, (*turned, torch.ones((), dtype=torch.int32), 4, "ordered", 0))


def test_compiles_as_one_graph():
    def layer(currents):
        words, v = if_steps(currents, 1.0, 0.5)
        return emit(words, v, 9), emit(words, v, 9, kind="random", seed=2)

    compiles(layer, torch.rand(9, 5, 3))


def test_spikes_carry_no_gradient():
    v = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        emit(torch.zeros(2, 3, dtype=torch.uint8), v, 4).sum().backward()


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"T": 0}, ValueError, "T must be 1 to 32 .*got 0"),
        ({"T": 9}, ValueError, "T=9 time-steps do not fit words of torch.uint8"),
        ({"words": torch.zeros(2, 3)}, TypeError, "words must be uint8, int16 or int32, got torch.float32"),
        ({"v": torch.zeros(2, 3, dtype=torch.int16)}, TypeError, "v must be float32, .* got torch.int16"),
        ({"v": torch.zeros(2, 3, device="meta")}, ValueError, "v must be on cpu .*got meta"),
        ({"v": torch.zeros(3)}, ValueError, r"v must have the shape of words \(2, 3\), got \(3,\)"),
        ({"threshold": torch.ones((), dtype=torch.int32)}, TypeError, "threshold must be torch.float32"),
        ({"threshold": torch.ones(3, device="meta")}, ValueError, "threshold must be on cpu .*got meta"),
        ({"threshold": torch.ones(2)}, ValueError, r"threshold must spread over the neurons \[\*N\] = \(2, 3\)"),
        ({"kind": "late"}, ValueError, r"kind must be one of \('ordered', 'random'\), got 'late'"),
    ],
)
def test_refuses(change, error, match):
    refuses(DOOR, arguments(**change), error, f"emit: .*{match}")


def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch):
    forced_backends_answer(monkeypatch, lambda: emit(torch.zeros(3, dtype=torch.uint8), torch.zeros(3), 4), op.BACKENDS)


@pytest.mark.parametrize("kind", op.KINDS)
def test_layout_does_not_matter(kind, device):
    g = torch.Generator().manual_seed(4)
    words, v = random_words(g, (7, 9, 4), 9).to(device), lattice(g, (7, 9, 4), -99, 99, torch.float32).to(device)
    turned = [x.permute(2, 1, 0)[:, ::2] for x in (words, v)]
    out = emit(*turned, 9, kind=kind)
    assert out.is_contiguous() and torch.equal(out, emit(*(x.contiguous() for x in turned), 9, kind=kind))


def test_no_neurons_and_one_neuron(device):
    none = torch.zeros(0, 3, dtype=torch.int16, device=device)
    assert emit(none, none.float(), 9).shape == (0, 3)
    one = torch.tensor(0b101, dtype=torch.uint8, device=device)
    assert emit(one, torch.tensor(1.0, device=device), 3).item() == 0b111
