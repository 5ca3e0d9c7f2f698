"""pool_lateral: a window emits what the largest sum of its inputs changes by."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import call_directly, compiles, dense, forced_backends_answer, keeps_the_contract, pairs, refuses, words_of
from torch.nn import functional as F

from fastsnn.firing import MOST_PLANES
from fastsnn.ops.pool import op, pool_lateral
from fastsnn.testing.cases import random_words
from fastsnn.testing.compare import spikes_equal
from fastsnn.windows import window_index

DOOR = torch.ops.fastsnn.pool_lateral


def arguments(**change):
    return {
        "words": torch.zeros(2, 4, 4, 3, dtype=torch.uint8),
        "sums": torch.zeros(2, 4, 4, 3, dtype=torch.int32),
        "T": 4,
        "amplitudes": [1],
        "kernel": [2, 2],
        "stride": [2, 2],
        "padding": [0, 0],
        "dilation": [1, 1],
        "ceil_mode": False,
    } | change


def emitted(words, amplitudes, T):
    """What is emitted at each step, [T, *N] int64."""
    planes = words if len(amplitudes) > 1 else words[None]
    return sum(dense(plane, T) * a for plane, a in zip(planes, amplitudes, strict=True))


def naive(words, sums, T, amplitudes, *geometry):
    """Window by window and step by step, in Python's own numbers."""
    index, sizes = window_index(sums.shape[1:-1], *geometry)
    flat = emitted(words, amplitudes, T).cumsum(0).add(sums.cpu().long()).flatten(2, -2)
    flat = torch.cat([sums.cpu().long().flatten(1, -2)[None], flat])
    batch, channels = sums.shape[0], sums.shape[-1]
    spikes = torch.zeros(len(amplitudes), T, batch, len(index), channels, dtype=torch.int64)
    for b in range(batch):
        for window, row in enumerate(index.tolist()):
            inside = [i for i in row if i >= 0]
            for c in range(channels if inside else 0):
                most = flat[:, b, inside, c].amax(1).tolist()
                for t in range(T):
                    rest = most[t + 1] - most[t]
                    for p, amplitude in enumerate(amplitudes):
                        fired = rest >= amplitude if amplitude > 0 else rest <= amplitude
                        spikes[p, t, b, window, c] = fired
                        rest -= amplitude * fired
    planes = torch.stack([words_of(plane).reshape(batch, *sizes, channels) for plane in spikes])
    return (planes if len(amplitudes) > 1 else planes[0]), flat[-1].reshape(sums.shape)


@pairs("pool_lateral", op.LATERAL_BACKENDS)
def test_matches_windows_written_out(backend, case, device):
    words, sums, T, *more = case.arguments(device)
    out, after = call_directly(backend, (words, sums, T, *more))
    few = (words[..., :2], sums[..., :2], T, *more)
    want, want_after = naive(*few)
    spikes_equal(out[..., :2].cpu(), want, T)
    assert after.dtype == torch.int32 and torch.equal(after[..., :2].cpu().long(), want_after)
    reference = op.LATERAL_BACKENDS[-1]
    if backend is not reference:
        for got, known in zip((out, after), call_directly(reference, (words, sums, T, *more)), strict=True):
            assert torch.equal(got, known)


@pytest.mark.parametrize("backend", op.LATERAL_BACKENDS, ids=lambda b: b.name)
def test_many_planes_and_windows_without_inputs(backend, device):
    g = torch.Generator().manual_seed(0)
    amplitudes = [2**p for p in range(MOST_PLANES - 2, -1, -1)] + [-1]
    words = random_words(g, (MOST_PLANES, 1, 2, 16), 9).to(device)
    sums = torch.zeros(1, 2, 16, dtype=torch.int32, device=device)
    # taps that are apart by 3 are both beside a line of 2
    for dilation in (1, 3):
        args = (words, sums, 9, amplitudes, [2], [1], [1], [dilation], False)
        out, after = call_directly(backend, args)
        want, want_after = naive(*args)
        assert torch.equal(out.cpu(), want) and torch.equal(after.cpu().long(), want_after)
        assert bool(out.any()) == (dilation == 1)


def test_hand_example():
    # a line of two, three steps: 1 1 0, 0 1 1. Sums 1 2 2, 0 1 2: the largest is 1, 2, 2
    words = torch.tensor([[[0b011], [0b110]]], dtype=torch.uint8)
    none = torch.zeros(1, 2, 1, dtype=torch.int32)
    out, sums = pool_lateral(words, none, 3, [2])
    assert out.tolist() == [[[0b011]]] and sums.tolist() == [[[2], [2]]]
    # with one more at the start the second leads: 1 2 3 after 1
    out, sums = pool_lateral(words, torch.tensor([[[0], [1]]], dtype=torch.int32), 3, [2])
    assert out.tolist() == [[[0b110]]] and sums.tolist() == [[[2], [3]]]
    # worth 2 and -1: the first emits 2, 2 - 1, 0, the second 0, -1, 2. Sums 2 3 3, 0 -1 1
    planes = torch.stack([torch.tensor([[[0b011], [0b100]]]), torch.tensor([[[0b010], [0b010]]])]).to(torch.uint8)
    out, sums = pool_lateral(planes, none, 3, [2], amplitudes=(2, -1))
    # the change by 1 at the second step is less than 2, and no plane has it
    assert out.flatten().tolist() == [0b001, 0] and sums.flatten().tolist() == [3, 1]


@given(st.integers(1, 32), st.integers(0, 2**32), st.data())
def test_laws(T, seed, data):
    g = torch.Generator().manual_seed(seed)
    words = random_words(g, (2, 5, 6, 3), T)
    sums = torch.randint(-3, 4, words.shape, generator=g, dtype=torch.int32)
    geometry = ([3, 2], [data.draw(st.integers(1, 2)), 2], [1, 0], [1, 1], data.draw(st.booleans()))
    copies = words.clone(), sums.clone()
    out, after = pool_lateral(words, sums, T, *geometry)
    assert torch.equal(words, copies[0]) and torch.equal(sums, copies[1])

    def most(x):
        kernel, stride, padding, _, ceil_mode = geometry
        pooled = F.max_pool2d(x.movedim(-1, 1).double(), kernel, stride, padding, 1, ceil_mode)
        return pooled.movedim(1, -1).long()

    # one spike a step is all that the largest sum can grow by
    assert torch.equal(dense(out, T).sum(0), most(after) - most(sums))
    assert torch.equal(pool_lateral(words, sums, T, [1, 1])[0], words)
    cut = data.draw(st.integers(0, T))
    spikes, parts, between = dense(words, T), [], sums
    for part in (spikes[:cut], spikes[cut:]):
        if len(part):
            some, between = pool_lateral(words_of(part), between, len(part), *geometry)
            parts.append(dense(some, len(part)))
    assert torch.equal(torch.cat(parts), dense(out, T)) and torch.equal(between, after)


def test_keeps_the_contract_with_torch():
    filled = torch.randint(0, 16, (2, 4, 4, 3), dtype=torch.uint8)
    for change in (
        {"words": filled},
        {"words": torch.stack([filled, filled >> 1]), "amplitudes": [2, -1], "padding": [1, 1]},
        {"words": filled[:0], "sums": torch.zeros(0, 4, 4, 3, dtype=torch.int32)},
        {"words": filled.permute(0, 2, 1, 3).to(torch.int16), "T": 9, "ceil_mode": True},
    ):
        keeps_the_contract(DOOR, tuple(arguments(**change).values()))


def test_compiles_as_one_graph():
    words = random_words(torch.Generator().manual_seed(3), (2, 6, 4, 3), 9)
    compiles(lambda x, sums: pool_lateral(x, sums, 9, [2, 2]), words, torch.zeros(words.shape, dtype=torch.int32))


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"T": 9}, ValueError, "T=9 time-steps do not fit words of torch.uint8"),
        ({"words": torch.zeros(2, 4, 4, 3)}, TypeError, "words must be uint8, int16 or int32, got torch.float32"),
        ({"sums": torch.zeros(2, 4, 4, 3)}, TypeError, "sums must be torch.int32 .*got torch.float32"),
        ({"sums": torch.zeros(2, 4, 4, 3, dtype=torch.int32, device="meta")}, ValueError, "sums must be on cpu"),
        ({"amplitudes": [2, 1]}, ValueError, r"those of sums \(2, 4, 4, 3\) on 2 planes, got \(2, 4, 4, 3\)"),
        ({"amplitudes": []}, ValueError, r"amplitudes must be 1 to 16 numbers but 0, got \[\]"),
        ({"amplitudes": [0]}, ValueError, r"amplitudes must be 1 to 16 numbers but 0, got \[0\]"),
        ({"amplitudes": [1] * 17}, ValueError, "amplitudes must be 1 to 16 numbers but 0"),
        ({"kernel": [5, 2]}, ValueError, r"kernel \[5, 2\] leaves nothing of words \(2, 4, 4, 3\)"),
        ({"stride": [2]}, ValueError, r"with one kernel, stride, .*stride=\[2\]"),
    ],
)
def test_refuses(change, error, match):
    refuses(DOOR, arguments(**change), error, f"pool_lateral: .*{match}")


def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch):
    words = torch.zeros(1, 2, 1, dtype=torch.uint8)
    forced_backends_answer(monkeypatch, lambda: pool_lateral(words, words.int(), 1, [2]), op.LATERAL_BACKENDS)


def test_layout_does_not_matter(device):
    g = torch.Generator().manual_seed(4)
    words = random_words(g, (7, 9, 8, 2), 16).to(device).permute(3, 2, 1, 0)
    sums = torch.randint(-3, 4, (7, 9, 8, 2), generator=g, dtype=torch.int32).to(device).permute(3, 2, 1, 0)
    out, after = pool_lateral(words, sums, 16, [2, 2])
    want, want_after = pool_lateral(words.contiguous(), sums.contiguous(), 16, [2, 2])
    assert out.is_contiguous() and after.is_contiguous()
    assert torch.equal(out, want) and torch.equal(after, want_after)
