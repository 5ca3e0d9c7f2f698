"""linear_if: linear maps of packed spikes, summed, and the neurons they feed."""

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
    words_of,
)

from fastsnn.ops.conv_if import conv_if
from fastsnn.ops.linear_if import linear_if
from fastsnn.ops.linear_if.op import BACKENDS
from fastsnn.testing.cases import UNIT, random_words
from fastsnn.testing.compare import membranes_close, spikes_equal, spikes_equal_outside

DOOR = torch.ops.fastsnn.linear_if


def arguments(**change):
    return {
        "words": [torch.zeros(2, 5, dtype=torch.uint8)],
        "weights": [torch.ones(3, 5)],
        "v": torch.zeros(()),
        "threshold": torch.ones(()),
        "bias": None,
        "T": 4,
        "reset": "soft",
        "comparator": ">=",
    } | change


def dense_sum(spikes, weight):
    """Spikes [T, B, K] into currents [T, B, O] in 64 bits, one output at a time, without a matrix product."""
    wide = torch.float64 if weight.is_floating_point() else torch.int64
    return torch.stack([(spikes.to(wide) * row).sum(-1) for row in weight.cpu().to(wide)], -1)


def simulated(words, weights, v, threshold, bias, T, reset, comparator):
    """All steps dense, then one neuron after the other: (words, v, currents)."""
    current = sum(dense_sum(dense(w, T), weight) for w, weight in zip(words, weights, strict=True))
    return *naive_if(current, v, threshold, bias, reset, comparator), current


@pairs("linear_if", BACKENDS)
def test_matches_a_dense_simulation(backend, case, device):
    args = case.arguments(device)
    want_words, want_v, _ = simulated(*args)
    words, v = call_directly(backend, args)
    spikes_equal(words.cpu(), want_words, args[5])
    membranes_close(v, want_v)
    assert v.dtype == args[2].dtype


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_weights_flip_only_what_rounding_can(backend, dtype, device):
    T, fan_in = 16, 257
    words = random_words(torch.Generator().manual_seed(1), (9, fan_in), T)
    weight = (torch.randn(63, fan_in) / fan_in**0.5).to(dtype)
    v, theta = torch.tensor(0.5, dtype=dtype), torch.tensor(1.0, dtype=dtype)
    want_words, want_v, current = simulated([words], [weight], v, theta, None, T, "soft", ">=")
    got_words, got_v = call_directly(
        backend, ([words.to(device)], [weight.to(device)], v.to(device), theta.to(device), None, T, "soft", ">=")
    )
    spikes = dense(want_words, T)
    before = 0.5 + current.cumsum(0) - (spikes.cumsum(0) - spikes)
    # each of T sums of fan_in terms, and T additions to V, is off by at most a rounding of its largest partial sum
    size = dense_sum(dense(words, T), weight.abs()).sum(0) + T + 1
    bound = torch.finfo(dtype).eps * (fan_in + T) * size
    spikes_equal_outside(got_words.cpu(), want_words, T, (before - 1).abs(), bound.expand(T, *bound.shape))
    same = got_words.cpu() == want_words
    assert same.double().mean() > 0.99
    membranes_close(got_v.cpu()[same], want_v[same], atol=bound.max().item())


def test_hand_example():
    # spikes of two inputs over three steps: 1 1 0 and 0 1 1; weights (1, 2) and (-1, 3)
    words = torch.tensor([[0b011, 0b110]], dtype=torch.uint8)
    weight = torch.tensor([[1, 2], [-1, 3]], dtype=torch.int32)
    # currents 1, 3, 2 and -1, 2, 3; threshold 2. V: 1, 4 f 2, 4 f 2 | -1, 1, 4 f 2
    out, v = linear_if([words], [weight], 3, 2, 0)
    assert out.tolist() == [[0b110, 0b100]] and v.tolist() == [[2, 2]] and out.dtype == torch.uint8
    # to zero: 1, 4 f 0, 2 f 0 | -1, 1, 4 f 0
    out, v = linear_if([words], [weight], 3, 2, 0, reset="hard")
    assert out.tolist() == [[0b110, 0b100]] and v.tolist() == [[0, 0]]
    # beyond 2 only, with 1 more for the first and from V 1: 3 f 1, 5 f 3, 6 f 4 | 0, 2, 5 f 3
    out, v = linear_if([words], [weight], 3, 2, 1, bias=torch.tensor([1, 0], dtype=torch.int32), comparator=">")
    assert out.tolist() == [[0b111, 0b100]] and v.tolist() == [[4, 3]]
    # a second input of one spike at each step, of weights 0 and 10: V: 1, 4 f 2, 4 f 2 | 9 f 7, 19 f 17, 30 f 28
    ones, more = torch.tensor([[0b111]], dtype=torch.uint8), torch.tensor([[0], [10]], dtype=torch.int32)
    out, v = linear_if([words, ones], [weight, more], 3, 2, 0)
    assert out.tolist() == [[0b110, 0b111]] and v.tolist() == [[2, 28]]


@st.composite
def layers(draw):
    """(words, weight, v, threshold, T), fixed point."""
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    T, batch, inputs, outputs = (draw(st.integers(1, most)) for most in (32, 3, 63, 9))
    words = random_words(g, (batch, inputs), T)
    weight = torch.randint(-4, 6, (outputs, inputs), generator=g, dtype=torch.int32)
    v, threshold = (torch.randint(1, 12, (outputs,), generator=g, dtype=torch.int32) for _ in range(2))
    return words, weight, v, threshold, T


@given(layers())
def test_charge_is_conserved_and_spikes_are_0_and_1(layer):
    words, weight, v, threshold, T = layer
    copies = [x.clone() for x in layer[:4]]
    out, after = linear_if([words], [weight], T, threshold, v)
    assert all(torch.equal(x, copy) for x, copy in zip(layer[:4], copies, strict=True))
    spikes = dense(out, T)
    assert torch.equal(out, words_of(spikes))
    assert torch.equal(dense_sum(dense(words, T), weight).sum(0), threshold * spikes.sum(0) + after - v)


@given(layers(), st.data())
def test_two_runs_that_carry_the_potential_are_one_run(layer, data):
    words, weight, v, threshold, T = layer
    out, after = linear_if([words], [weight], T, threshold, v)
    cut = data.draw(st.integers(0, T))
    spikes, parts = dense(words, T), []
    for part in (spikes[:cut], spikes[cut:]):
        if len(part):
            some, v = linear_if([words_of(part)], [weight], len(part), threshold, v)
            parts.append(dense(some, len(part)))
    assert torch.equal(torch.cat(parts), dense(out, T)) and torch.equal(after, v)


@given(layers(), st.randoms())
def test_permuted_neurons_inputs_and_rows(layer, random):
    words, weight, v, threshold, T = layer
    out, after = linear_if([words], [weight], T, threshold, v)
    outputs, inputs = (random.sample(range(n), n) for n in weight.shape)
    got = linear_if([words[:, inputs].flip(0)], [weight[outputs][:, inputs]], T, threshold[outputs], v[outputs])
    assert torch.equal(got[0], out.flip(0)[:, outputs]) and torch.equal(got[1], after.flip(0)[:, outputs])


@given(layers())
def test_is_a_1x1_convolution(layer):
    words, weight, v, threshold, T = layer
    want = conv_if([words[:, None]], [weight[..., None]], T, threshold, v)
    got = linear_if([words], [weight], T, threshold, v)
    assert torch.equal(got[0], want[0][:, 0]) and torch.equal(got[1], want[1][:, 0])


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("sign", [1, -1])
def test_fixed_point_never_wraps(backend, sign, device):
    """Nine weights of 2^30 together, over many chunks: far beyond 32 bits in one step."""
    words = torch.full((1, 9), -1, dtype=torch.int32, device=device)
    weight = torch.full((1, 9), sign * 2**30, dtype=torch.int32, device=device)
    theta, v = (torch.tensor(x, dtype=torch.int32, device=device) for x in (2**24, 0))
    for _ in range(6):
        out, v = call_directly(backend, ([words], [weight], v, theta, None, 32, "soft", ">="))
        assert out.item() == (-1 if sign > 0 else 0) and v.item() == sign * LIMIT


def test_all_dtypes_give_the_same_spikes(device):
    words = random_words(torch.Generator().manual_seed(2), (3, 63), 9).to(device)
    units = torch.randint(-3, 5, (17, 63), device=device)
    results = [linear_if([words], [(units * u).to(d)], 9, 8 * u, 4 * u) for d, u in UNIT.items() if d != torch.int16]
    assert all(torch.equal(out, results[0][0]) for out, _ in results)


def test_keeps_the_contract_with_torch():
    lists = {"words": [torch.randint(0, 16, (2, 5), dtype=torch.uint8)], "weights": [torch.rand(3, 5)]}
    for change in (
        lists,
        {"words": [torch.zeros(5, 2, dtype=torch.int16).T], "weights": [torch.rand(5, 3).T], "T": 16},
        {"words": [torch.zeros(0, 5, dtype=torch.uint8)]},
        {"T": 1, "bias": torch.rand(1, 1, 3)},
        {"words": lists["words"] * 2, "weights": lists["weights"] * 2},
    ):
        keeps_the_contract(DOOR, tuple(arguments(**change).values()))


def test_compiles_as_one_graph():
    def layer(words, weight):
        return linear_if([words], [weight * 2], 9, 1.0, 0.5)

    words = random_words(torch.Generator().manual_seed(3), (4, 17), 9)
    weight = torch.randint(-4, 5, (6, 17)) / 8
    compiles(layer, words, weight)
    compiles(layer, words, torch.randint(-4, 5, (17, 6)).T / 8, dynamic=True)


def test_backward_raises():
    words, weight = torch.ones(1, 3, dtype=torch.uint8), torch.ones(2, 3, requires_grad=True)
    out, v = linear_if([words], [weight], 4)
    assert not out.requires_grad
    with pytest.raises(RuntimeError, match="no autograd formula"):
        v.sum().backward()


@NEURON_REFUSALS
def test_refuses_what_does_not_fit_the_neurons(change, error, match):
    refuses(DOOR, arguments(**change), error, "linear_if: " + match)


BYTE, ONES = torch.zeros(2, 5, dtype=torch.uint8), torch.ones(3, 5)


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"T": 0}, ValueError, "T must be 1 to 32 .*got 0"),
        ({"T": 33}, ValueError, "T must be 1 to 32 .*got 33"),
        ({"T": 9}, ValueError, "T=9 time-steps do not fit words of torch.uint8"),
        ({"words": [BYTE.long()]}, TypeError, "words must be uint8, int16 or int32, got torch.int64"),
        ({"words": [BYTE, BYTE]}, ValueError, "needs one weight for each words tensor, got 2 words, 1 weights"),
        ({"words": [], "weights": []}, ValueError, "needs one weight .*got 0 words, 0 weights"),
        ({"weights": [ONES.long()]}, TypeError, "values must be float32, .*got torch.int64"),
        ({"weights": [ONES.to("meta")]}, ValueError, r"weights\[0\] must be on cpu .*got meta"),
        ({"words": [BYTE, BYTE], "weights": [ONES, ONES.double()]}, TypeError,
         r"weights\[1\] must be torch.float32 or .*bfloat16 like the other values, got torch.float64"),
        ({"words": [BYTE, BYTE[:1]], "weights": [ONES, ONES]}, ValueError, r"one batch size on one device, .*1, 5"),
        ({"words": [BYTE[0]]}, ValueError, r"every words tensor must be \[B, ..., C\] .*\(5,\)"),
        ({"words": [BYTE[None]]}, ValueError, r"words\[0\] must be \[B, K\] .*got \(1, 2, 5\) and \(3, 5\)"),
        ({"weights": [ONES[0]]}, ValueError, r"weights\[0\] \[O, K\] .*got \(2, 5\) and \(5,\)"),
        ({"weights": [torch.ones(5, 3)]}, ValueError, r"words\[0\] must be .*got \(2, 5\) and \(5, 3\)"),
        ({"words": [BYTE, BYTE], "weights": [ONES, torch.ones(4, 5)]}, ValueError,
         r"weights\[1\] \[O, K\] with one O for all inputs, got \(2, 5\) and \(4, 5\)"),
    ],
)  # fmt: skip
def test_refuses(change, error, match):
    refuses(DOOR, arguments(**change), error, "linear_if: .*" + match)


def test_refuses_a_call_without_inputs():
    with pytest.raises(ValueError, match="linear_if: needs at least one input, got 1 words and 0 weights"):
        linear_if([BYTE], [], 4)


def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch):
    forced_backends_answer(monkeypatch, lambda: linear_if([BYTE], [ONES], 4), BACKENDS)


def test_layout_does_not_matter(device):
    words = random_words(torch.Generator().manual_seed(4), (20, 4), 16).to(device).T[:, ::2]
    weight = (torch.randint(-4, 5, (10, 6), device=device) / 8).T
    v = torch.zeros(6, 4, device=device).T
    out, after = linear_if([words], [weight], 16, 1.0, v)
    assert out.is_contiguous() and after.is_contiguous()
    want, want_v, _ = simulated([words], [weight], v, torch.tensor(1.0), None, 16, "soft", ">=")
    spikes_equal(out.cpu(), want, 16)
    membranes_close(after, want_v)


def test_nothing_and_one_neuron(device):
    out, v = linear_if([torch.zeros(0, 5, dtype=torch.int16, device=device)], [ONES.to(device)], 9)
    assert out.shape == v.shape == (0, 3) and out.dtype == torch.int16
    # without inputs there is no current
    out, v = linear_if([torch.zeros(2, 0, dtype=torch.uint8, device=device)], [torch.ones(3, 0, device=device)], 3, 1.0)
    assert out.tolist() == [[0] * 3] * 2 and v.tolist() == [[0.0] * 3] * 2
    out, v = linear_if([torch.ones(1, 1, dtype=torch.uint8, device=device)], [torch.ones(1, 1, device=device)], 3)
    assert out.tolist() == [[1]] and v.tolist() == [[0.0]]
