"""if_constant: integrate-and-fire neurons over T steps, from one current that all steps share."""

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

from fastsnn.ops.if_constant import if_constant
from fastsnn.ops.if_constant.op import BACKENDS
from fastsnn.ops.if_steps import if_steps
from fastsnn.testing.compare import membranes_close, spikes_equal

DOOR = torch.ops.fastsnn.if_constant


def arguments(**change):
    return {
        "current": torch.zeros(2, 3),
        "v": torch.zeros(()),
        "threshold": torch.ones(()),
        "bias": None,
        "T": 4,
        "reset": "soft",
        "comparator": ">=",
    } | change


@pairs("if_constant", BACKENDS)
def test_matches_the_neuron_written_out(backend, case, device):
    args = case.arguments(device)
    current, v, threshold, bias, T, reset, comparator = args
    words, after = call_directly(backend, args)
    want_words, want_v = naive_if(current.expand(T, *current.shape), v, threshold, bias, reset, comparator)
    spikes_equal(words.cpu(), want_words, T)
    membranes_close(after, want_v)
    assert after.dtype == current.dtype


def test_hand_example():
    # threshold 4, V(0) = 2, five steps, f = fires. 0: never | 1: 3, 4 f, 1, 2, 3 | 3: 5 f, 4 f, 3, 6 f, 5 f | 4: always
    current = torch.tensor([0, 1, 3, 4, -1], dtype=torch.int32)
    words, v = if_constant(current, 5, 4, 2)
    assert words.tolist() == [0, 0b00010, 0b11011, 0b11111, 0] and v.tolist() == [2, 3, 1, 2, -3]
    # to zero after a spike: 1 at V 3, 4 f, 1, 2, 3 | 3 at 5 f, 3, 6 f, 3, 6 f
    words, v = if_constant(current, 5, 4, 2, reset="hard")
    assert words.tolist() == [0, 0b00010, 0b10101, 0b11111, 0] and v.tolist() == [2, 3, 0, 0, -3]
    # beyond the threshold only, from 0. 1: 1, 2, 3, 4, 5 f | 3: 3, 6 f, 5 f, 4, 7 f | 4: 4, 8 f, 8 f, 8 f, 8 f
    assert if_constant(current, 5, 4, 0, comparator=">")[0].tolist() == [0, 0b10000, 0b10110, 0b11110, 0]


@given(st.integers(1, 12), st.integers(1, 32), st.data())
def test_the_closed_form(theta, T, data):
    """From 0 <= V(0) < threshold: none below 0, each step from the threshold up, floor(tI + v) / theta between."""
    drives = data.draw(st.lists(st.integers(-5, theta + 3), min_size=1, max_size=63))
    v = data.draw(st.lists(st.integers(0, theta - 1), min_size=len(drives), max_size=len(drives)))
    words, _ = if_constant(torch.tensor(drives, dtype=torch.int32), T, theta, torch.tensor(v, dtype=torch.int32))
    for drive, start, row in zip(drives, v, dense(words, T).T.tolist(), strict=True):
        if drive < 0:
            want = [0] * T
        elif drive >= theta:
            want = [1] * T
        else:
            want = [(t * drive + start) // theta - ((t - 1) * drive + start) // theta for t in range(1, T + 1)]
        assert row == want


@given(st.integers(1, 20), st.integers(1, 12), st.integers(1, 32))
def test_a_hard_reset_fires_with_one_period(drive, theta, T):
    spikes = dense(if_constant(torch.tensor(drive, dtype=torch.int32), T, theta, reset="hard")[0], T)
    period = -(-theta // drive)
    assert spikes.tolist() == [int((t + 1) % period == 0) for t in range(T)]


@given(st.integers(1, 32), st.integers(0, 2**32), st.sampled_from(["soft", "hard"]), st.sampled_from([">=", ">"]))
def test_laws(T, seed, reset, comparator):
    g = torch.Generator().manual_seed(seed)
    current, v = (torch.randint(-8, 12, (7, 9), generator=g) / 8 for _ in range(2))
    theta, bias = torch.randint(1, 12, (9,), generator=g) / 8, torch.randint(-2, 3, (T, 1, 9), generator=g) / 8
    copies = [x.clone() for x in (current, v, theta, bias)]
    rules = {"reset": reset, "comparator": comparator}
    words, after = if_constant(current, T, theta, v, bias=bias, **rules)
    assert all(torch.equal(x, copy) for x, copy in zip((current, v, theta, bias), copies, strict=True))

    repeated, repeated_after = if_steps(current.expand(T, 7, 9), theta, v, bias=bias, **rules)
    assert torch.equal(words, repeated) and torch.equal(after, repeated_after)
    if reset == "soft":
        assert torch.equal(T * current + bias.sum(0), theta * dense(words, T).sum(0) + after - v)
    order = torch.randperm(7, generator=g)
    permuted, permuted_after = if_constant(current[order], T, theta, v[order], bias=bias, **rules)
    assert torch.equal(permuted, words[order]) and torch.equal(permuted_after, after[order])
    if T > 1:
        cut = T // 2
        first, between = if_constant(current, cut, theta, v, bias=bias[:cut], **rules)
        second, end = if_constant(current, T - cut, theta, between, bias=bias[cut:], **rules)
        assert torch.equal(torch.cat([dense(first, cut), dense(second, T - cut)]), dense(words, T))
        assert torch.equal(end, after)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_fixed_point_never_wraps(backend, device):
    current = torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32, device=device)
    theta, v = (torch.tensor(x, dtype=torch.int32, device=device) for x in (2**24, 0))
    for _ in range(6):
        words, v = call_directly(backend, (current, v, theta, current, 32, "soft", ">="))
        assert words.tolist() == [-1, 0] and v.tolist() == [LIMIT, -LIMIT]


def test_keeps_the_contract_with_torch():
    for change in (
        {},
        {"current": torch.rand(3, 2).T, "v": torch.rand(3, 2).T, "T": 9},
        {"current": torch.zeros(2, 0, 3), "T": 32},
        {"T": 1, "bias": torch.rand(1, 1, 3)},
    ):
        keeps_the_contract(DOOR, tuple(arguments(**change).values()))


def test_compiles_as_one_graph():
    def layer(x, v):
        return if_constant(x + 1, 9, 1.0, v, reset="hard")

    compiles(layer, torch.rand(5, 3), torch.rand(3))
    compiles(layer, torch.rand(3, 5).T, torch.rand(3), dynamic=True)


def test_backward_raises():
    words, v = if_constant(torch.rand(3, requires_grad=True), 4)
    assert not words.requires_grad
    with pytest.raises(RuntimeError, match="no autograd formula"):
        v.sum().backward()


@NEURON_REFUSALS
def test_refuses_what_does_not_fit_the_neurons(change, error, match):
    refuses(DOOR, arguments(**change), error, "if_constant: " + match)


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"T": 0}, ValueError, "T must be 1 to 32 time-steps .*go in chunks.*, got 0"),
        ({"T": 33}, ValueError, "T must be 1 to 32 .*got 33"),
        ({"current": torch.zeros(2, 3, dtype=torch.bfloat16)}, TypeError, "values must be float32, .*torch.bfloat16"),
    ],
)
def test_refuses_steps_and_currents(change, error, match):
    refuses(DOOR, arguments(**change), error, "if_constant: " + match)


def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch):
    forced_backends_answer(monkeypatch, lambda: if_constant(torch.zeros(3), 4), BACKENDS)


def test_layout_does_not_matter(device):
    current = (torch.rand(2, 9, 4, device=device) * 16).round() / 8
    strided = current.permute(2, 0, 1)[:, :, ::2]
    words, v = if_constant(strided, 9)
    assert words.is_contiguous() and v.is_contiguous()
    want, want_v = naive_if(strided.expand(9, 4, 2, 5), torch.zeros(()), torch.ones(()))
    spikes_equal(words.cpu(), want, 9)
    membranes_close(v, want_v)


def test_no_neurons_and_one_neuron(device):
    words, v = if_constant(torch.zeros(3, 0, 2, device=device), 17)
    assert words.shape == v.shape == (3, 0, 2) and words.dtype == torch.int32
    words, v = if_constant(torch.ones((), device=device), 16)
    assert words.shape == () and words.item() == -1 and v.item() == 0
