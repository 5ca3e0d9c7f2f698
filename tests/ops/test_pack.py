"""pack: dense spikes into words and back, and how many spikes a word holds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import call_directly, compiles, dense, forced_backends_answer, keeps_the_contract, pairs, refuses, words_of

from fastsnn.ops.pack import counts, op, pack, unpack
from fastsnn.testing.compare import spikes_equal

PACK, UNPACK, COUNTS = torch.ops.fastsnn.pack, torch.ops.fastsnn.unpack, torch.ops.fastsnn.counts


@pairs("pack", op.BACKENDS)
def test_pack_sums_powers_of_two(backend, case, device):
    (spikes,) = case.arguments(device)
    words = call_directly(backend, (spikes,))
    assert words.device == spikes.device
    spikes_equal(words.cpu(), words_of(spikes), spikes.shape[0])


@pairs("unpack", op.UNPACK_BACKENDS)
def test_unpack_reads_the_bits(backend, case, device):
    words, T = case.arguments(device)
    spikes = call_directly(backend, (words, T))
    assert spikes.dtype == torch.uint8 and torch.equal(spikes.cpu().long(), dense(words, T))


@pairs("counts", op.COUNTS_BACKENDS)
def test_counts_adds_the_bits(backend, case, device):
    (words,) = case.arguments(device)
    total = call_directly(backend, (words,))
    unsigned = 2 ** (8 * words.element_size()) - 1
    want = torch.tensor([bin(w & unsigned).count("1") for w in words.flatten().tolist()])
    assert total.dtype == torch.int32 and torch.equal(total.cpu().flatten().long(), want)


def test_hand_example():
    spikes = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    words = pack(spikes)
    assert words.tolist() == [0b101, 0, 0b111] and words.dtype == torch.uint8
    assert unpack(words, 3).tolist() == spikes.tolist()
    assert unpack(words, 2).tolist() == spikes[:2].tolist()
    assert counts(words).tolist() == [2, 0, 3]


@pytest.mark.parametrize("T", [8, 9, 16, 17, 32])
def test_the_last_step_is_a_bit_and_not_a_sign(T):
    dtype = {8: torch.uint8, 9: torch.int16, 16: torch.int16}.get(T, torch.int32)
    last = torch.zeros(T, 1)
    last[-1] = 1
    words = pack(last)
    assert words.dtype == dtype and counts(words).tolist() == [1]
    assert torch.equal(unpack(words, T), last.to(torch.uint8))
    assert words.tolist() == [{8: 128, 9: 256, 16: -(2**15), 17: 2**16, 32: -(2**31)}[T]]
    assert counts(pack(torch.ones(T, 1))).tolist() == [T]


@given(st.integers(1, 32), st.sampled_from([(1,), (63,), (2, 3, 5), ()]), st.integers(0, 2**32))
def test_laws(T, shape, seed):
    g = torch.Generator().manual_seed(seed)
    spikes = torch.randint(0, 2, (T, *shape), generator=g, dtype=torch.uint8)
    copy = spikes.clone()
    words = pack(spikes)
    assert torch.equal(spikes, copy)
    back = unpack(words, T)
    assert torch.equal(back, spikes) and torch.equal(pack(back), words)
    assert torch.equal(counts(words), spikes.sum(0, dtype=torch.int32))
    if shape:
        order = torch.randperm(shape[0], generator=g)
        assert torch.equal(pack(spikes[:, order]), words[order])
    cut = T // 2
    if cut:
        parts = [unpack(pack(part), len(part)) for part in (spikes[:cut], spikes[cut:])]
        assert torch.equal(torch.cat(parts), spikes)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("backend", op.BACKENDS, ids=lambda b: b.name)
def test_anything_but_zero_is_a_spike(backend, dtype, device):
    values = [0, 1, 2, 255] if dtype == torch.uint8 else [0, 1, -1, 2]
    spikes = torch.tensor([values], device=device).to(dtype)
    assert pack(spikes).tolist() == [0, 1, 1, 1]
    if dtype == torch.uint8:
        assert call_directly(backend, (spikes,)).tolist() == [0, 1, 1, 1]
    if dtype.is_floating_point:
        assert pack(torch.tensor([[0.0, -0.0, 0.25, 1e-7]], dtype=dtype, device=device)).tolist() == [0, 0, 1, 1]


def test_keeps_the_contract_with_torch():
    for T, shape in ((5, (2, 3)), (1, (2, 3)), (9, (3, 0)), (32, (63,))):
        spikes = torch.randint(0, 2, (T, *shape), dtype=torch.uint8)
        words = pack(spikes)
        keeps_the_contract(PACK, (spikes,))
        keeps_the_contract(UNPACK, (words, T))
        keeps_the_contract(COUNTS, (words,))
    permuted = torch.randint(0, 2, (2, 3, 9), dtype=torch.uint8).permute(2, 1, 0)
    keeps_the_contract(PACK, (permuted,))
    keeps_the_contract(UNPACK, (pack(permuted).T, 9))
    keeps_the_contract(COUNTS, (pack(permuted).T,))


def test_compiles_as_one_graph():
    def round_trip(x):
        words = pack(x > 0.5)
        return words, unpack(words, 9), counts(words)

    compiles(round_trip, torch.rand(9, 5, 3))
    compiles(round_trip, torch.rand(9, 3, 5).transpose(1, 2), dynamic=True)


def test_spikes_carry_no_gradient():
    spikes = torch.ones(3, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        pack(spikes).sum().backward()


@pytest.mark.parametrize(
    "function, arguments, error, match",
    [
        (PACK, {"spikes": torch.zeros(3, 2)}, TypeError, "pack: spikes must be uint8, got torch.float32"),
        (
            PACK,
            {"spikes": torch.zeros((), dtype=torch.uint8)},
            ValueError,
            r"pack: spikes must be \[T, \*N\], got a scal",
        ),
        (PACK, {"spikes": torch.zeros(0, 2, dtype=torch.uint8)}, ValueError, "pack: T must be 1 to 32 .*got 0"),
        (
            PACK,
            {"spikes": torch.zeros(33, 2, dtype=torch.uint8)},
            ValueError,
            "pack: T must be 1 to 32 .*chunks.*got 33",
        ),
        (
            UNPACK,
            {"words": torch.zeros(3), "T": 3},
            TypeError,
            "unpack: words must be uint8, int16 or int32, got torch.float",
        ),
        (UNPACK, {"words": torch.zeros(3, dtype=torch.int64), "T": 3}, TypeError, "unpack: words must .*torch.int64"),
        (UNPACK, {"words": torch.zeros(3, dtype=torch.uint8), "T": 9}, ValueError, "T=9 time-steps do not fit .*uint8"),
        (
            UNPACK,
            {"words": torch.zeros(3, dtype=torch.int16), "T": 17},
            ValueError,
            "T=17 time-steps do not fit .*int16",
        ),
        (
            UNPACK,
            {"words": torch.zeros(3, dtype=torch.int32), "T": 33},
            ValueError,
            "unpack: T must be 1 to 32 .*got 33",
        ),
        (UNPACK, {"words": torch.zeros(3, dtype=torch.int32), "T": 0}, ValueError, "unpack: T must be 1 to 32 .*got 0"),
        (COUNTS, {"words": torch.zeros(3, dtype=torch.int8)}, TypeError, "counts: words must be uint8, .*torch.int8"),
    ],
)
def test_refuses(function, arguments, error, match):
    refuses(function, arguments, error, match)


@pytest.mark.parametrize("function", ["pack", "unpack", "counts"])
def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch, function):
    zeros = torch.zeros(3, 2, dtype=torch.uint8)
    call = {"pack": lambda: pack(zeros), "unpack": lambda: unpack(zeros, 3), "counts": lambda: counts(zeros)}[function]
    forced_backends_answer(monkeypatch, call, op.BACKENDS)


def test_layout_does_not_matter(device):
    spikes = torch.randint(0, 2, (4, 7, 9), device=device).permute(2, 1, 0)[:, ::2]
    words = pack(spikes)
    assert words.is_contiguous() and torch.equal(words.cpu(), words_of(spikes))
    turned = words.T
    assert torch.equal(unpack(turned, 9).long(), spikes.transpose(1, 2)) and unpack(turned, 9).is_contiguous()
    assert torch.equal(counts(turned).long(), spikes.sum(0).T) and counts(turned).is_contiguous()


def test_no_neurons_and_one_neuron(device):
    words = pack(torch.zeros(9, 0, 3, device=device))
    assert words.shape == (0, 3) and words.dtype == torch.int16
    assert unpack(words, 9).shape == (9, 0, 3) and counts(words).shape == (0, 3)
    one = pack(torch.ones(5, device=device))
    assert one.shape == () and one.item() == 31 and counts(one).item() == 5 and unpack(one, 5).tolist() == [1] * 5
