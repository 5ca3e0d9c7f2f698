"""readout: the last linear layer, applied once to spike counts, or to the counts up to every step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import call_directly, compiles, dense, forced_backends_answer, keeps_the_contract, pairs, refuses, words_of

from fastsnn.ops.readout import readout
from fastsnn.ops.readout.op import BACKENDS
from fastsnn.testing.cases import random_words
from fastsnn.testing.compare import membranes_close

DOOR = torch.ops.fastsnn.readout


def arguments(**change):
    return {
        "words": torch.zeros(2, 5, dtype=torch.uint8),
        "weight": torch.ones(3, 5),
        "bias": None,
        "counts": torch.zeros(2, 5, dtype=torch.int32),
        "T": 4,
        "steps_before": 0,
        "over_time": False,
    } | change


def step_by_step(words, weight, bias, counts, T, steps_before, over_time):
    """The mean of a dense linear layer's output over the steps so far, in float64: (logits, counts)."""
    weight = weight.cpu().double()
    total, so_far, curve = counts.cpu().double() @ weight.T, counts.cpu().long(), []
    for t, spikes in enumerate(dense(words, T)):
        total = total + (spikes.double()[:, None] * weight).sum(-1)
        so_far = so_far + spikes
        curve.append(total / (steps_before + t + 1) + (0 if bias is None else bias.cpu().double()))
    return torch.stack(curve) if over_time else curve[-1], so_far


@pairs("readout", BACKENDS)
def test_matches_the_mean_of_a_dense_layer(backend, case, device):
    args = case.arguments(device)
    logits, counts = call_directly(backend, args)
    want, want_counts = step_by_step(*args)
    assert logits.dtype == args[1].dtype and logits.shape == want.shape
    # sums are exact; the division and the bias round once each
    atol = 2 * torch.finfo(logits.dtype).eps * (want.abs().max().item() + 1)
    membranes_close(logits, want, atol)
    assert counts.dtype == torch.int32 and torch.equal(counts.cpu().long(), want_counts)


def test_hand_example():
    # spikes 1 0 1 and 1 1 0; weights (1, 2) and (0, -3); counts over time: 1 1, 1 2, 2 2
    words = torch.tensor([[0b101, 0b011]], dtype=torch.uint8)
    weight = torch.tensor([[1.0, 2.0], [0.0, -3.0]])
    logits, counts = readout(words, weight, 3)
    assert logits.tolist() == [[2.0, -2.0]] and counts.tolist() == [[2, 2]]
    logits, _ = readout(words, weight, 3, over_time=True, bias=torch.tensor([1.0, 0.0]))
    assert logits.tolist() == [[[4.0, -3.0]], [[3.5, -3.0]], [[3.0, -2.0]]]
    # after five steps with 6 and 2 spikes: counts 7 3, 7 4, 8 4 after 6, 7, 8 steps
    before = torch.tensor([[6, 2]], dtype=torch.int32)
    logits, counts = readout(words, weight, 3, counts=before, steps_before=5)
    assert logits.tolist() == [[2.0, -1.5]] and counts.tolist() == [[8, 4]]


@given(st.integers(1, 32), st.integers(0, 2**32), st.data())
def test_laws(T, seed, data):
    g = torch.Generator().manual_seed(seed)
    words, weight = random_words(g, (3, 17), T), torch.randint(-8, 9, (5, 17), generator=g) / 8
    bias = torch.randint(-8, 9, (5,), generator=g) / 8
    copies = words.clone(), weight.clone(), bias.clone()
    curve, counts = readout(words, weight, T, bias=bias, over_time=True)
    last, _ = readout(words, weight, T, bias=bias)
    assert all(torch.equal(x, copy) for x, copy in zip((words, weight, bias), copies, strict=True))
    assert torch.equal(curve[-1], last) and torch.equal(counts.long(), dense(words, T).sum(0))

    spikes, cut, parts, so_far = dense(words, T), data.draw(st.integers(0, T)), [], None
    for part in (spikes[:cut], spikes[cut:]):
        if len(part):
            before = 0 if so_far is None else cut
            some, so_far = readout(
                words_of(part), weight, len(part), bias=bias, counts=so_far, steps_before=before, over_time=True
            )
            parts.append(some)
    assert torch.equal(torch.cat(parts), curve) and torch.equal(so_far, counts)

    inputs, outputs = torch.randperm(17, generator=g), torch.randperm(5, generator=g)
    permuted, _ = readout(words[:, inputs], weight[outputs][:, inputs], T, bias=bias[outputs], over_time=True)
    assert torch.equal(permuted, curve[..., outputs])


def test_many_chunks_of_counts_stay_exact(device):
    words, counts = torch.full((1, 3), -1, dtype=torch.int32, device=device), None
    weight = torch.ones(2, 3, device=device)
    for chunk in range(100):
        logits, counts = readout(words, weight, 32, counts=counts, steps_before=32 * chunk)
        assert logits.tolist() == [[3.0, 3.0]]
    assert counts.tolist() == [[3200] * 3]


def test_keeps_the_contract_with_torch():
    for change in (
        {"words": torch.randint(0, 16, (2, 5), dtype=torch.uint8), "weight": torch.rand(3, 5), "bias": torch.rand(3)},
        {"words": torch.randint(0, 16, (5, 2), dtype=torch.uint8).T, "weight": torch.rand(5, 3).T, "over_time": True,
         "counts": torch.zeros(5, 2, dtype=torch.int32).T},
        {"words": torch.zeros(0, 5, dtype=torch.int16), "counts": torch.zeros(0, 5, dtype=torch.int32), "T": 16},
        {"T": 1, "over_time": True},
    ):  # fmt: skip
        keeps_the_contract(DOOR, tuple(arguments(**change).values()))


def test_compiles_as_one_graph():
    def layer(words, weight):
        return readout(words, weight + 1, 9, over_time=True)

    words = random_words(torch.Generator().manual_seed(3), (4, 17), 9)
    compiles(layer, words, torch.randint(-4, 5, (6, 17)) / 8)
    compiles(layer, words, torch.randint(-4, 5, (17, 6)).T / 8, dynamic=True)


def test_backward_raises():
    logits, counts = readout(torch.ones(1, 3, dtype=torch.uint8), torch.ones(2, 3, requires_grad=True), 4)
    assert not counts.requires_grad
    with pytest.raises(RuntimeError, match="no autograd formula"):
        logits.sum().backward()


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"T": 0}, ValueError, "T must be 1 to 32 .*got 0"),
        ({"T": 33}, ValueError, "T must be 1 to 32 .*got 33"),
        ({"T": 9}, ValueError, "T=9 time-steps do not fit words of torch.uint8"),
        ({"words": torch.zeros(2, 5)}, TypeError, "words must be uint8, int16 or int32, got torch.float32"),
        ({"weight": torch.ones(3, 5).half()}, TypeError, "weight must be float32 or float64, got torch.float16"),
        ({"weight": torch.ones(3, 5).int()}, TypeError, "weight must be float32 or float64, got torch.int32"),
        ({"weight": torch.ones(3, 5, device="meta")}, ValueError, "weight must be on cpu .*got meta"),
        ({"counts": torch.zeros(2, 5)}, TypeError, "counts must be torch.int32 .*got torch.float32"),
        (
            {"counts": torch.zeros(2, 5, dtype=torch.int32, device="meta")},
            ValueError,
            "counts must be on cpu .*got meta",
        ),
        ({"words": torch.zeros(2, 1, 5, dtype=torch.uint8)}, ValueError, r"needs words \[B, K\], .*got \(2, 1, 5\), "),
        ({"weight": torch.ones(5)}, ValueError, r"needs .*weight \[O, K\].*got \(2, 5\), \(5,\) and \(2, 5\)"),
        ({"weight": torch.ones(5, 3)}, ValueError, r"needs .*got \(2, 5\), \(5, 3\) and \(2, 5\)"),
        ({"counts": torch.zeros(1, 5, dtype=torch.int32)}, ValueError, r"counts \[B, K\], got .* and \(1, 5\)"),
        ({"bias": torch.zeros(3).double()}, TypeError, "bias must be torch.float32 .*got torch.float64"),
        ({"bias": torch.zeros(3, device="meta")}, ValueError, "bias must be on cpu .*got meta"),
        ({"bias": torch.zeros(5)}, ValueError, r"bias must be \[O\] = \(3,\), got \(5,\)"),
        ({"steps_before": -1}, ValueError, "steps_before must not be negative, got -1"),
    ],
)
def test_refuses(change, error, match):
    refuses(DOOR, arguments(**change), error, "readout: .*" + match)


def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch):
    zeros = torch.zeros(2, 5, dtype=torch.uint8)
    forced_backends_answer(monkeypatch, lambda: readout(zeros, torch.ones(3, 5), 4), BACKENDS)


@pytest.mark.parametrize("over_time", [False, True])
def test_layout_does_not_matter(over_time, device):
    words = random_words(torch.Generator().manual_seed(4), (20, 4), 16).to(device).T[:, ::2]
    weight = (torch.randint(-4, 5, (10, 6), device=device) / 8).T
    before = torch.randint(0, 9, (10, 4), device=device, dtype=torch.int32).T
    logits, counts = readout(words, weight, 16, counts=before, steps_before=16, over_time=over_time)
    assert logits.is_contiguous() and counts.is_contiguous()
    want, want_counts = step_by_step(words, weight, None, before, 16, 16, over_time)
    membranes_close(logits, want, atol=2 * torch.finfo(logits.dtype).eps * (want.abs().max().item() + 1))
    assert torch.equal(counts.cpu().long(), want_counts)


def test_no_images_and_one_input(device):
    logits, counts = readout(torch.zeros(0, 5, dtype=torch.int16, device=device), torch.ones(3, 5, device=device), 9)
    assert logits.shape == (0, 3) and counts.shape == (0, 5)
    words, weight = torch.tensor([[0b0110]], dtype=torch.uint8, device=device), torch.ones(1, 1, device=device)
    assert readout(words, weight, 4)[0].tolist() == [[0.5]]
    assert readout(words, weight, 4, over_time=True)[0].shape == (4, 1, 1)
