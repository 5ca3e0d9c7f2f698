"""if_steps: integrate-and-fire neurons over T steps, from a current for each step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import (
    LIMIT,
    NEURON_REFUSALS,
    call_directly,
    compiles,
    dense,
    forced_backends_answer,
    keeps_the_contract,
    naive_if,
    pairs,
    refuses,
)

from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.if_steps.op import BACKENDS
from fastsnn.testing.cases import CASES, UNIT
from fastsnn.testing.compare import membranes_close, spikes_equal

DOOR = torch.ops.fastsnn.if_steps
RESETS = pytest.mark.parametrize("reset", ["soft", "hard"])
COMPARATORS = pytest.mark.parametrize("comparator", [">=", ">"])


def arguments(**change):
    return {
        "currents": torch.zeros(4, 2, 3),
        "v": torch.zeros(()),
        "threshold": torch.ones(()),
        "bias": None,
        "reset": "soft",
        "comparator": ">=",
    } | change


@pairs("if_steps", BACKENDS)
def test_matches_the_neuron_written_out(backend, case, device):
    args = case.arguments(device)
    words, v = call_directly(backend, args)
    want_words, want_v = naive_if(*args)
    spikes_equal(words.cpu(), want_words, args[0].shape[0])
    membranes_close(v, want_v)
    assert v.dtype == args[0].dtype


def test_all_dtypes_give_the_same_spikes():
    by_number = {}
    for case in CASES["if_steps"]:
        if "int16" in case.name:
            continue  # saturates at 4 of these thresholds, the others at 64 or never
        words, v = DOOR(*case.arguments())
        number = case.name.replace(str(v.dtype).removeprefix("torch."), "")
        other, other_v = by_number.setdefault(number, (words, v / UNIT[v.dtype]))
        assert torch.equal(words, other) and torch.equal((v / UNIT[v.dtype]).double(), other_v.double())


def test_hand_example():
    currents = torch.tensor([0.5, 0.75, -0.25, 1.0])[:, None]
    # V: 1.0 fires, 0 | 0.75 | 0.5 | 1.5 fires, 0.5
    words, v = if_steps(currents, 1.0, 0.5)
    assert words.tolist() == [0b1001] and v.tolist() == [0.5] and words.dtype == torch.uint8
    # V: 1.0 does not exceed 1 | 1.75 fires, 0.75 | 0.5 | 1.5 fires, 0.5
    words, v = if_steps(currents, 1.0, 0.5, comparator=">")
    assert words.tolist() == [0b1010] and v.tolist() == [0.5]
    # V: 1.0 fires, to 0 | 0.75 | 0.5 | 1.5 fires, to 0
    words, v = if_steps(currents, 1.0, 0.5, reset="hard")
    assert words.tolist() == [0b1001] and v.tolist() == [0.0]
    # bias -0.5 at each step: V 0.5 | 0.75 | 0.0 | 0.5
    words, v = if_steps(currents, 1.0, 0.5, bias=torch.tensor([-0.5]))
    assert words.tolist() == [0] and v.tolist() == [0.5]


def test_hand_example_with_a_bias_for_each_channel_and_step():
    bias = torch.tensor([[1, 0], [0, 3], [-2, 0]], dtype=torch.int32)[:, None]
    words, v = if_steps(torch.zeros(3, 2, 2, dtype=torch.int32), torch.tensor([1, 2], dtype=torch.int32), 0, bias=bias)
    assert words.tolist() == [[0b001, 0b010]] * 2 and v.tolist() == [[-2, 1]] * 2


def test_a_tie_fires_with_one_comparator_only():
    currents = torch.full((5, 3), 2**24, dtype=torch.int32)
    for dtype, one in ((torch.int32, 2**24), (torch.float32, 1.0)):
        drive = (currents / 2**24 * one).to(dtype)
        assert if_steps(drive, one, 0)[0].tolist() == [0b11111] * 3
        # never behind by more than the first spike: V stays at exactly two thresholds before each later one
        words, v = if_steps(drive, one, 0, comparator=">")
        assert words.tolist() == [0b11110] * 3 and v.tolist() == [one] * 3


shapes = st.sampled_from([(1,), (63,), (2, 3, 5)])
forms = st.sampled_from(["one", "channel", "all"])
steps = st.sampled_from([1, 2, 7, 8, 9, 16, 17, 31, 32])


@st.composite
def layers(draw, dtypes=(torch.float32, torch.int32), resets=("soft", "hard")):
    """(currents, v, threshold, reset, comparator), all on the lattice."""
    T, shape, dtype = draw(steps), draw(shapes), draw(st.sampled_from(dtypes))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))

    def some(form, low, high):
        size = {"one": (), "channel": shape[-1:], "all": shape, "steps": (T, *shape)}[form]
        return (torch.randint(low, high + 1, size, generator=g) * UNIT[dtype]).to(dtype)

    currents = some("steps", -8, draw(st.integers(2, 16)))
    v, threshold = some(draw(forms), -4, 12), some(draw(forms), 1, 12)
    return currents, v, threshold, draw(st.sampled_from(resets)), draw(st.sampled_from([">=", ">"]))


@given(layers(resets=("soft",)))
def test_charge_is_conserved(layer):
    currents, v, threshold, reset, comparator = layer
    copies = [x.clone() for x in layer[:3]]
    words, after = DOOR(currents, v, threshold, None, reset, comparator)
    spikes = dense(words, currents.shape[0])
    assert spikes.unique().tolist() in ([0], [1], [0, 1])
    assert torch.equal(currents.sum(0), (threshold * spikes.sum(0) + after - v).to(currents.dtype))
    assert all(torch.equal(x, copy) for x, copy in zip(layer[:3], copies, strict=True))


@given(layers(), st.data())
def test_two_runs_that_carry_the_potential_are_one_run(layer, data):
    currents, v, threshold, reset, comparator = layer
    T = currents.shape[0]
    cut = data.draw(st.integers(0, T))
    words, after = DOOR(currents, v, threshold, None, reset, comparator)
    spikes = []
    for part in (currents[:cut], currents[cut:]):
        if len(part):
            some, v = DOOR(part, v, threshold, None, reset, comparator)
            spikes.append(dense(some, len(part)))
    assert torch.equal(torch.cat(spikes), dense(words, T)) and torch.equal(v, after)


@given(layers(), st.randoms())
def test_permuted_neurons_give_permuted_spikes(layer, random):
    currents, v, threshold, reset, comparator = layer
    shape = currents.shape[1:]
    flat = [currents.flatten(1), v.expand(shape).flatten(), threshold.expand(shape).flatten()]
    order = list(range(flat[1].numel()))
    random.shuffle(order)
    words, after = DOOR(*flat, None, reset, comparator)
    permuted, permuted_after = DOOR(*(x[..., order] for x in flat), None, reset, comparator)
    assert torch.equal(permuted, words[order]) and torch.equal(permuted_after, after[order])


@given(layers(resets=("soft",), dtypes=(torch.int32,)))
def test_the_count_follows_the_charge_by_at_most_one_spike_a_step(layer):
    """N[t] = min(max(g[t], N[t-1]), N[t-1] + 1), g[t] the count that the charge so far is good for."""
    currents, v, threshold, reset, comparator = layer
    words, _ = DOOR(currents, v, threshold, None, reset, comparator)
    counts = dense(words, currents.shape[0]).cumsum(0)
    charge, theta = v.long() + currents.long().cumsum(0), threshold.long()
    # with >, a charge of exactly k thresholds is good for k - 1 spikes
    good_for = charge // theta if comparator == ">=" else -(-charge // theta) - 1
    before = torch.zeros_like(counts[0])
    for t, now in enumerate(counts):
        assert torch.equal(now, torch.minimum(torch.maximum(good_for[t], before), before + 1))
        before = now


@given(layers(resets=("hard",)))
def test_a_hard_reset_forgets_what_was_before_the_last_spike(layer):
    currents, v, threshold, reset, comparator = layer
    words, after = DOOR(currents, v, threshold, None, reset, comparator)
    T = currents.shape[0]
    spikes = dense(words, T).bool()
    charge = torch.zeros(currents.shape[1:], dtype=torch.float64) + v
    for t in range(T):
        charge = charge + currents[t]
        assert torch.equal(spikes[t], charge >= threshold if comparator == ">=" else charge > threshold)
        charge[spikes[t]] = 0
    assert torch.equal(after.double(), charge)


@given(layers(), st.sampled_from(["channel", "step"]))
def test_a_bias_is_a_current(layer, form):
    currents, v, threshold, reset, comparator = layer
    T, *shape = currents.shape
    size = shape[-1:] if form == "channel" else [T] + [1] * (len(shape) - 1) + shape[-1:]
    bias = (torch.randint(-3, 4, size) * UNIT[currents.dtype]).to(currents.dtype)
    got = DOOR(currents, v, threshold, bias, reset, comparator)
    want = DOOR(currents + bias, v, threshold, None, reset, comparator)
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])


@RESETS
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_fixed_point_never_wraps(backend, reset, device):
    """The largest drive of either sign, for more steps than would fill 32 bits many times."""
    most, least = 2**31 - 1, -(2**31)
    currents = torch.tensor([most, least, most, least, 0], dtype=torch.int32).repeat(32, 1).to(device)
    bias = torch.tensor([most, least, 0, 0, 0], dtype=torch.int32, device=device)
    theta = torch.tensor(2**24, dtype=torch.int32, device=device)
    v = torch.tensor([most, least, 0, 0, most], dtype=torch.int32, device=device)
    for chunk in range(6):
        last = v
        words, v = call_directly(backend, (currents, v, theta, bias, reset, ">="))
        assert words.tolist()[:4] == [-1, 0, -1, 0]
        if reset == "soft":
            # the last starts with a charge of 64 thresholds, however much more it was given
            assert v.tolist() == [LIMIT, -LIMIT, LIMIT, -LIMIT, LIMIT - min(32 * (chunk + 1), 64) * 2**24]
        elif chunk:
            assert torch.equal(v, last)


def test_fixed_point_recovers_from_saturation():
    currents = torch.tensor([[2**31 - 1], [-(2**31)], [-1], [2**24]], dtype=torch.int32)
    # V: 2^30 - 1 fires, less a threshold | down by 2^30 - 1 | down by 1 | up by a threshold: a tie less one
    words, v = if_steps(currents, 2**24, 0)
    assert words.tolist() == [0b0001] and v.tolist() == [-1]
    assert if_steps(currents[:2], 2**24, 0)[1].tolist() == [-(2**24)]


def test_keeps_the_contract_with_torch():
    base = arguments()
    for change in (
        {},
        {"currents": torch.rand(3, 2, 4).permute(2, 1, 0)},
        {"currents": torch.zeros(9, 0, 3), "v": torch.zeros(0, 3)},
        {"currents": torch.rand(1, 2, 3), "bias": torch.rand(1, 1, 3)},
        {"v": torch.rand(3, 2).T},
        {"currents": torch.ones(17, 5, dtype=torch.int32), "v": torch.zeros(5, dtype=torch.int32),
         "threshold": torch.tensor(2, dtype=torch.int32)},
    ):  # fmt: skip
        keeps_the_contract(DOOR, tuple((base | change).values()))


def test_compiles_as_one_graph():
    def layer(currents, bias):
        return if_steps(currents * 2, 1.0, 0.5, bias=bias)

    words, _ = compiles(layer, torch.rand(9, 5, 3), torch.rand(3))
    assert words.dtype == torch.int16
    compiles(layer, torch.rand(9, 5, 3).transpose(1, 2), torch.rand(5), dynamic=True)


def test_compiles_with_inductor():
    """The one test with the compiler's code generation, which is slow; the other families test its graph only."""
    compiles(lambda x: if_steps(x + x, 1.0, 0.5, reset="hard"), torch.rand(8, 63), backend="inductor")


def test_backward_raises():
    currents = torch.rand(4, 3, requires_grad=True)
    words, v = if_steps(currents)
    assert not words.requires_grad
    with pytest.raises(RuntimeError, match="no autograd formula"):
        v.sum().backward()


@NEURON_REFUSALS
def test_refuses_what_does_not_fit_the_neurons(change, error, match):
    refuses(DOOR, arguments(**change), error, "if_steps: " + match)


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"currents": torch.zeros(())}, ValueError, r"currents must be \[T, \*N\], got a scalar"),
        ({"currents": torch.zeros(0, 3)}, ValueError, "T must be 1 to 32 time-steps .*go in chunks.*, got 0"),
        ({"currents": torch.zeros(33, 3)}, ValueError, "T must be 1 to 32 .*got 33"),
        ({"currents": torch.zeros(4, 3, dtype=torch.float16)}, TypeError, "values must be float32, .*torch.float16"),
        ({"currents": torch.zeros(4, 3, dtype=torch.int64)}, TypeError, "values must be float32, .*torch.int64"),
    ],
)
def test_refuses_currents(change, error, match):
    refuses(DOOR, arguments(**change), error, "if_steps: " + match)


@pytest.mark.parametrize("value", [0.5, torch.tensor(0.5), float(2**24) + 0.5], ids=str)
def test_refuses_fractions_in_fixed_point(value):
    """Cut off to a whole number, half a threshold would be none."""
    currents = torch.zeros(4, 3, dtype=torch.int32)
    for call in (lambda: if_steps(currents, 1, value), lambda: if_steps(currents, value, 0)):
        with pytest.raises(TypeError, match=r"of torch.int32 values must be whole numbers, got"):
            call()
    assert if_steps(currents, 1.0, 2.0)[1].dtype == torch.int32


def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch):
    forced_backends_answer(monkeypatch, lambda: if_steps(torch.zeros(4, 3)), BACKENDS)


@COMPARATORS
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_layout_does_not_matter(backend, comparator, device):
    currents = ((torch.rand(3, 2, 5, 9) * 16).round() / 8).to(device)
    v, threshold = torch.rand(5, 3, device=device).round().T, torch.ones(3, 10, device=device)[:, ::2]
    strided = currents.permute(3, 1, 0, 2)
    words, after = call_directly(backend, (strided.contiguous(), v, threshold, None, "soft", comparator))
    through_the_door = if_steps(strided, threshold, v, comparator=comparator)
    assert torch.equal(words, through_the_door[0]) and torch.equal(after, through_the_door[1])
    want, want_after = naive_if(strided, v, threshold, None, "soft", comparator)
    spikes_equal(words.cpu(), want, 9)
    membranes_close(after, want_after)


def test_no_neurons_and_one_neuron(device):
    words, v = if_steps(torch.zeros(9, 3, 0, 2, device=device), torch.ones(2, device=device))
    assert words.shape == v.shape == (3, 0, 2) and words.dtype == torch.int16
    words, v = if_steps(torch.ones(32, device=device))
    assert words.shape == () and words.item() == -1 and v.item() == 0
