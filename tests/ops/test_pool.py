"""pool: windows over packed spikes; the word-wise OR, the spikes of the most active input, or the number of spikes."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import call_directly, compiles, dense, forced_backends_answer, keeps_the_contract, pairs, refuses, words_of
from torch.nn import functional as F

from fastsnn.ops.pool import op, pool_counts, pool_gate, pool_or
from fastsnn.testing.cases import POOLS, random_words
from fastsnn.testing.compare import spikes_equal

OR, GATE, COUNTS = torch.ops.fastsnn.pool_or, torch.ops.fastsnn.pool_gate, torch.ops.fastsnn.pool_counts
MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def arguments(**change):
    return {
        "words": torch.zeros(2, 4, 4, 3, dtype=torch.uint8),
        "T": 4,
        "kernel": [2, 2],
        "stride": [2, 2],
        "padding": [0, 0],
        "dilation": [1, 1],
        "ceil_mode": False,
    } | change


def members(sizes, kernel, stride, padding, dilation, ceil_mode):
    """Positions inside the input for each window, in the window's order, window by window; and how many windows."""
    windows = []
    for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        # as many windows as torch gives: its own answer, on one line
        n = F.max_pool1d(torch.zeros(1, 1, size), k, s, p, d, ceil_mode).shape[-1]
        windows.append([[i * s - p + j * d for j in range(k)] for i in range(n)])
    for at in product(*windows):
        yield [pos for pos in product(*at) if all(0 <= x < size for x, size in zip(pos, sizes, strict=True))]


def out_sizes(sizes, *geometry):
    ceil_mode = geometry[-1]
    rows = zip(sizes, *geometry[:-1], strict=True)
    return [F.max_pool1d(torch.zeros(1, 1, n), k, s, p, d, ceil_mode).shape[-1] for n, k, s, p, d in rows]


def max_pool(x, *geometry):
    """torch's max pooling of [T, B, *S, C]; the smallest float stands for the padding and the overhang."""
    dims = x.ndim - 3
    kernel, stride, padding, dilation, ceil_mode = geometry
    pooled = MAX_POOLS[dims](x.flatten(0, 1).movedim(-1, 1).double(), kernel, stride, padding, dilation, ceil_mode)
    return pooled.movedim(1, -1).unflatten(0, x.shape[:2]).long()


def gate(spikes, counts, *geometry):
    """The rule of pool_gate in Python, window by window: (spikes [T, B, *S', C], counts)."""
    T, B, *sizes, C = spikes.shape
    rows, counts = [], counts.cpu().long().clone()
    for t in range(T):
        counts += spikes[t]
        at_t = []
        for b in range(B):
            for inside in members(sizes, *geometry):
                for c in range(C):
                    # max gives the first of equals
                    best = max(inside, key=lambda pos, b=b, c=c: counts[(b, *pos, c)].item(), default=None)
                    at_t.append(0 if best is None else spikes[(t, b, *best, c)].item())
        rows.append(at_t)
    return torch.tensor(rows).reshape(T, B, *out_sizes(sizes, *geometry), C), counts


@pairs("pool_or", op.BACKENDS)
def test_or_is_max_pooling_step_by_step(backend, case, device):
    words, T, *geometry = case.arguments(device)
    spikes_equal(call_directly(backend, (words, T, *geometry)).cpu(), words_of(max_pool(dense(words, T), *geometry)), T)


@pairs("pool_gate", op.GATE_BACKENDS)
def test_gate_follows_the_first_most_active_input(backend, case, device):
    args = case.arguments(device)
    words, counts, T, *geometry = args
    got, got_counts = call_directly(backend, args)
    small = slice(0, 2)
    want, _ = gate(dense(words, T)[:, :1, ..., small], counts[:1, ..., small], *geometry)
    spikes_equal(got[:1, ..., small].cpu(), words_of(want), T)
    assert torch.equal(got_counts.cpu().long(), counts.cpu() + dense(words, T).sum(0))
    assert got_counts.dtype == torch.int32 and got.shape == op.pool_or(words, T, *geometry).shape


@pairs("pool_counts", op.COUNTS_BACKENDS)
def test_counts_is_sum_pooling_over_windows_and_time(backend, case, device):
    words, T, *geometry = case.arguments(device)
    got = call_directly(backend, (words, T, *geometry))
    total, sizes = dense(words, T).sum(0), words.shape[1:-1]
    nothing = total.flatten(1, -2)[:, 0] * 0
    sums = [sum((total[(slice(None), *pos)] for pos in inside), nothing) for inside in members(sizes, *geometry)]
    want = torch.stack(sums, 1).unflatten(1, out_sizes(sizes, *geometry))
    assert got.dtype == torch.int32 and torch.equal(got.cpu().long(), want)


def test_hand_example():
    # one line of four, two steps: 1 0, 0 0, 0 1, 1 1
    words = torch.tensor([[[0b01], [0b00], [0b10], [0b11]]], dtype=torch.uint8)
    assert pool_or(words, 2, [2]).tolist() == [[[0b01], [0b11]]]
    assert pool_counts(words, 2, [2]).tolist() == [[[1], [3]]]
    # windows of three at 0, 2 with one beside the line: (-, 1st, 2nd), (2nd, 3rd, 4th)
    assert pool_or(words, 2, [3], [2], [1]).tolist() == [[[0b01], [0b11]]]
    assert pool_counts(words, 2, [3], [2], [1]).tolist() == [[[1], [3]]]
    # windows (1st, 3rd), (2nd, 4th)
    assert pool_or(words, 2, [2], [1], dilation=[2]).tolist() == [[[0b11], [0b11]]]
    # (1st, 2nd): the 1st leads. (3rd, 4th): counts 0 1, then 1 2: the 4th leads
    none = torch.zeros(1, 4, 1, dtype=torch.int32)
    out, counts = pool_gate(words, none, 2, [2])
    assert out.tolist() == [[[0b01], [0b11]]] and counts.tolist() == [[[1], [0], [1], [2]]]
    # with 5 spikes before, the 3rd leads throughout, and the 2nd until the end
    out, counts = pool_gate(words, torch.tensor([[[0], [5], [5], [0]]], dtype=torch.int32), 2, [2])
    assert out.tolist() == [[[0b00], [0b10]]] and counts.tolist() == [[[1], [5], [6], [2]]]


def test_of_equals_the_first_in_the_window_passes():
    # both have one spike after step 1, and the first had its own at step 0
    words = torch.tensor([[[0b01], [0b10]]], dtype=torch.uint8)
    none = torch.zeros(1, 2, 1, dtype=torch.int32)
    assert pool_gate(words, none, 2, [2])[0].tolist() == [[[0b01]]]
    # before step 1 the second leads; at step 1 they are equal, and the first spikes
    assert pool_gate(words.flip(1), none, 2, [2])[0].tolist() == [[[0b11]]]


def test_ceil_mode_lets_the_last_window_hang_over():
    words = torch.tensor([[[1], [0], [1]]], dtype=torch.uint8)
    assert pool_or(words, 1, [2], ceil_mode=True).tolist() == [[[1], [1]]]
    assert pool_or(words, 1, [2]).tolist() == [[[1]]]
    assert pool_counts(words, 1, [2], ceil_mode=True).tolist() == [[[1], [1]]]


@st.composite
def layers(draw):
    """(words [2, H, W, 3], counts, T, geometry)."""
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    T = draw(st.integers(1, 32))
    words = random_words(g, (2, draw(st.integers(5, 9)), draw(st.integers(5, 9)), 3), T)
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    stride = [draw(st.integers(1, 3)) for _ in range(2)]
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    dilation = [draw(st.integers(1, 2)) for _ in range(2)]
    counts = torch.randint(0, 4, words.shape, generator=g, dtype=torch.int32)
    return words, counts, T, (kernel, stride, padding, dilation, draw(st.booleans()))


@given(layers())
def test_laws(layer):
    words, counts, T, geometry = layer
    copies = words.clone(), counts.clone()
    some, sums = pool_or(words, T, *geometry), pool_counts(words, T, *geometry)
    gated, after = pool_gate(words, counts, T, *geometry)
    assert torch.equal(words, copies[0]) and torch.equal(counts, copies[1])
    # what the gate passes, some input spiked; a window spikes where it has spikes; no more steps than spikes
    assert torch.equal(gated & some, gated)
    assert torch.equal(sums > 0, some != 0) and (sums >= dense(some, T).sum(0)).all()
    assert torch.equal(some, words_of(dense(some, T))) and torch.equal(gated, words_of(dense(gated, T)))
    # of one input alone, the gate passes everything
    assert torch.equal(pool_gate(words, counts, T, [1, 1])[0], words)
    # images and channels do not see each other
    permuted = pool_gate(words.flip(0, -1), counts.flip(0, -1), T, *geometry)
    assert torch.equal(permuted[0], gated.flip(0, -1)) and torch.equal(permuted[1], after.flip(0, -1))
    assert torch.equal(pool_or(words.flip(0, -1), T, *geometry), some.flip(0, -1))


@given(layers(), st.data())
def test_two_runs_that_carry_the_counts_are_one_run(layer, data):
    words, counts, T, geometry = layer
    gated, after = pool_gate(words, counts, T, *geometry)
    whole = pool_counts(words, T, *geometry), dense(pool_or(words, T, *geometry), T)
    spikes, cut, parts = dense(words, T), data.draw(st.integers(0, T)), []
    for part in (spikes[:cut], spikes[cut:]):
        if len(part):
            some, counts = pool_gate(words_of(part), counts, len(part), *geometry)
            piece = words_of(part)
            parts.append((dense(some, len(part)), pool_counts(piece, len(part), *geometry),
                          dense(pool_or(piece, len(part), *geometry), len(part))))  # fmt: skip
    assert torch.equal(torch.cat([p[0] for p in parts]), dense(gated, T)) and torch.equal(counts, after)
    assert torch.equal(sum(p[1] for p in parts), whole[0])
    assert torch.equal(torch.cat([p[2] for p in parts]), whole[1])


def test_keeps_the_contract_with_torch():
    filled = torch.randint(0, 16, (2, 4, 4, 3), dtype=torch.uint8)
    for change in (
        {"words": filled},
        {"words": torch.zeros(2, 3, 5, 4, dtype=torch.int16).permute(0, 2, 3, 1), "T": 9, "ceil_mode": True},
        {"words": filled[:0]},
        {"words": filled & 1, "T": 1, "padding": [1, 1]},
    ):
        args = arguments(**change)
        counts = torch.zeros(args["words"].shape, dtype=torch.int32)
        keeps_the_contract(OR, tuple(args.values()))
        keeps_the_contract(COUNTS, tuple(args.values()))
        keeps_the_contract(GATE, (args["words"], counts, *list(args.values())[1:]))


def test_compiles_as_one_graph():
    def layer(words, counts):
        return pool_or(words, 9, [2, 2]), pool_counts(words, 9, [2, 2]), *pool_gate(words, counts + 1, 9, [2, 2])

    words = random_words(torch.Generator().manual_seed(3), (2, 6, 4, 3), 9)
    counts = torch.zeros(words.shape, dtype=torch.int32)
    compiles(layer, words, counts)
    compiles(layer, words.transpose(1, 2), counts.transpose(1, 2), dynamic=True)


def test_spikes_carry_no_gradient():
    words = torch.ones(1, 2, 1, dtype=torch.uint8)
    for out in (pool_or(words, 1, [2]), pool_counts(words, 1, [2])):
        with pytest.raises(RuntimeError, match="does not require grad"):
            out.sum().backward()


@pytest.mark.parametrize("name", ["pool_or", "pool_gate", "pool_counts"])
@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"T": 0}, ValueError, "T must be 1 to 32 .*got 0"),
        ({"T": 33}, ValueError, "T must be 1 to 32 .*got 33"),
        ({"T": 9}, ValueError, "T=9 time-steps do not fit words of torch.uint8"),
        ({"words": torch.zeros(2, 4, 4, 3)}, TypeError, "words must be uint8, int16 or int32, got torch.float32"),
        ({"words": torch.zeros(2, 4, 3, dtype=torch.uint8)}, ValueError,
         r"words must be \[B, \*S, C\] with one kernel, .* for each spatial dimension, got words \(2, 4, 3\), kernel="),
        ({"words": torch.zeros(4, 3, dtype=torch.uint8), "kernel": [], "stride": [], "padding": [], "dilation": []},
         ValueError, r"words must be \[B, \*S, C\] .*got words \(4, 3\)"),
        ({"kernel": [2]}, ValueError, r"words must be \[B, \*S, C\] with one kernel, .*kernel=\[2\], stride=\[2, 2\]"),
        ({"stride": [2]}, ValueError, r"with one kernel, stride, .*stride=\[2\]"),
        ({"padding": [0, 0, 0]}, ValueError, r"with one kernel, stride, padding .*padding=\[0, 0, 0\]"),
        ({"dilation": [1]}, ValueError, r"with one kernel, stride, padding and dilation .*dilation=\[1\]"),
        ({"kernel": [0, 2]}, ValueError, r"kernel, stride and dilation must be at least 1 .*kernel=\[0, 2\]"),
        ({"stride": [2, 0]}, ValueError, r"kernel, stride and dilation must be at least 1 .*stride=\[2, 0\]"),
        ({"dilation": [1, 0]}, ValueError, r"kernel, stride and dilation must be at least 1 .*dilation=\[1, 0\]"),
        ({"padding": [0, -1]}, ValueError, r"padding at most half the kernel, got .*padding=\[0, -1\]"),
        ({"padding": [2, 0]}, ValueError, r"padding at most half the kernel, got .*padding=\[2, 0\]"),
        ({"kernel": [5, 2]}, ValueError, r"kernel \[5, 2\] leaves nothing of words \(2, 4, 4, 3\)"),
    ],
)  # fmt: skip
def test_refuses(name, change, error, match):
    args = arguments(**change)
    if name == "pool_gate":
        args["counts"] = torch.zeros(args["words"].shape, dtype=torch.int32)
    refuses(getattr(torch.ops.fastsnn, name), args, error, f"{name}: .*{match}")


@pytest.mark.parametrize(
    "counts, error, match",
    [
        (torch.zeros(2, 4, 4, 3), TypeError, "counts must be torch.int32 .*got torch.float32"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.int32, device="meta"), ValueError, "counts must be on cpu .*got meta"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.int32), ValueError,
         r"counts must have the shape of words \(2, 4, 4, 3\), got \(1, 4, 4, 3\)"),
    ],
)  # fmt: skip
def test_gate_refuses_counts(counts, error, match):
    refuses(GATE, arguments(counts=counts), error, "pool_gate: " + match)


@pytest.mark.parametrize("name", ["pool_or", "pool_gate", "pool_counts"])
def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch, name):
    words = torch.zeros(1, 2, 1, dtype=torch.uint8)
    call = {
        "pool_or": lambda: pool_or(words, 1, [2]),
        "pool_gate": lambda: pool_gate(words, words.int(), 1, [2]),
        "pool_counts": lambda: pool_counts(words, 1, [2]),
    }[name]
    forced_backends_answer(monkeypatch, call, op.BACKENDS)


@pytest.mark.parametrize("name", ["2x2", "3x3s2p1", "dilated"])
def test_layout_does_not_matter(name, device):
    _, *geometry = POOLS[name]
    words = random_words(torch.Generator().manual_seed(4), (2, 8, 9, 7), 16).to(device).permute(0, 3, 2, 1)[..., ::2]
    out = pool_or(words, 16, *geometry)
    assert out.is_contiguous()
    spikes_equal(out.cpu(), words_of(max_pool(dense(words, 16), *geometry)), 16)
    counts = torch.zeros(words.shape[::-1], dtype=torch.int32, device=device).permute(3, 2, 1, 0)
    gated, after = pool_gate(words, counts, 16, *geometry)
    want, want_after = pool_gate(words.contiguous(), counts.contiguous(), 16, *geometry)
    assert gated.is_contiguous() and torch.equal(gated, want)
    assert after.is_contiguous() and torch.equal(after, want_after)
    sums = pool_counts(words, 16, *geometry)
    assert sums.is_contiguous() and torch.equal(sums, pool_counts(words.contiguous(), 16, *geometry))


def test_no_images_and_one_input(device):
    none = torch.zeros(0, 4, 4, 3, dtype=torch.int16, device=device)
    assert pool_or(none, 9, [2, 2]).shape == pool_counts(none, 9, [2, 2]).shape == (0, 2, 2, 3)
    gated, counts = pool_gate(none, none.int(), 9, [2, 2])
    assert gated.shape == (0, 2, 2, 3) and counts.shape == none.shape
    one = torch.tensor([[[0b101]]], dtype=torch.uint8, device=device)
    assert pool_or(one, 3, [1]).tolist() == [[[0b101]]] and pool_counts(one, 3, [1]).tolist() == [[[2]]]
