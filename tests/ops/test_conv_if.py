"""conv_if: convolutions of packed spikes, summed, and the neurons they feed."""

from itertools import product

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
from torch.nn import functional as F

from fastsnn.ops.conv_if import conv_if
from fastsnn.ops.conv_if.op import BACKENDS
from fastsnn.testing.cases import CASES, UNIT, random_words
from fastsnn.testing.compare import membranes_close, spikes_equal, spikes_equal_outside

DOOR = torch.ops.fastsnn.conv_if


def arguments(**change):
    """One 3x3 input of 2 channels that gives neurons [2, 1, 1, 3] over 4 steps."""
    return {
        "words": [torch.zeros(2, 3, 3, 2, dtype=torch.uint8)],
        "weights": [torch.ones(3, 2, 3, 3)],
        "v": torch.zeros(()),
        "threshold": torch.ones(()),
        "bias": None,
        "T": 4,
        "stride": [1, 1],
        "padding": [0, 0],
        "dilation": [1, 1],
        "groups": [1],
        "reset": "soft",
        "comparator": ">=",
    } | change


def dense_convolution(spikes, weight, stride, padding, dilation, groups):
    """Spikes [T, B, *S, C] int64 into currents [T, B, *S', O] in 64 bits: one product for each kernel offset."""
    wide = torch.float64 if weight.is_floating_point() else torch.int64
    weight, dims = weight.cpu().to(wide), weight.ndim - 2
    x = F.pad(spikes.to(wide), (0, 0, *(p for pad in reversed(padding) for p in (pad, pad))))
    kernel, total = weight.shape[2:], 0
    last = [s - d * (k - 1) for s, d, k in zip(x.shape[2:-1], dilation, kernel, strict=True)]
    for offset in product(*map(range, kernel)):
        at = tuple(slice(o * d, o * d + e, s) for o, d, e, s in zip(offset, dilation, last, stride, strict=True))
        seen = x[(slice(None), slice(None), *at)].unflatten(-1, (groups, -1))
        used = weight[(slice(None), slice(None), *offset)].unflatten(0, (groups, -1))
        # multiplied and added, not a matrix product, which has no 64-bit whole numbers on a GPU
        total = total + torch.stack([(seen[..., g, None, :] * used[g]).sum(-1) for g in range(groups)], -2)
    assert total.ndim == dims + 4
    return total.flatten(-2)


def simulated(words, weights, v, threshold, bias, T, stride, padding, dilation, groups, reset, comparator):
    """All steps dense, then one neuron after the other: (words, v, currents)."""
    dims = words[0].ndim - 2
    current = 0
    for i, (w, weight) in enumerate(zip(words, weights, strict=True)):
        part = slice(i * dims, (i + 1) * dims)
        current = current + dense_convolution(
            dense(w, T), weight, stride[part], padding[part], dilation[part], groups[i]
        )
    return *naive_if(current, v, threshold, bias, reset, comparator), current


def directly(backend, args, shape):
    return call_directly(backend, args, tuple(shape))


@pairs("conv_if", BACKENDS)
def test_matches_a_dense_simulation(backend, case, device):
    args = case.arguments(device)
    want_words, want_v, _ = simulated(*args)
    words, v = directly(backend, args, want_v.shape)
    spikes_equal(words.cpu(), want_words, args[5])
    membranes_close(v, want_v)
    assert v.dtype == args[2].dtype


@pytest.mark.parametrize("case", CASES["conv_if"][::5], ids=lambda c: c.name)
def test_the_door_gives_the_same(case, device):
    words, weights, v, threshold, bias, T, stride, padding, dilation, groups, reset, comparator = case.arguments(device)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    got = conv_if(words, weights, T, threshold, v, **geometry, bias=bias, reset=reset, comparator=comparator)
    want_words, want_v, _ = simulated(*case.arguments())
    spikes_equal(got[0].cpu(), want_words, T)
    membranes_close(got[1], want_v)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_simulation_itself_is_torchs_convolution(dims):
    """The sums that everything here is compared with, against torch in float64."""
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims]
    spikes = torch.randint(0, 2, (2, 3, *[7, 6, 5][:dims], 4))
    weight = torch.randint(-4, 5, (6, 2, *[3, 2, 2][:dims])).double()
    geometry = [2, 1, 1][:dims], [1, 0, 2][:dims], [2, 3, 1][:dims], 2
    want = convolve(spikes.flatten(0, 1).double().movedim(-1, 1), weight, None, *geometry).movedim(1, -1)
    got = dense_convolution(spikes, weight, *geometry)
    assert torch.equal(got.flatten(0, 1), want)
    assert torch.equal(dense_convolution(spikes, weight.int(), *geometry).double(), got)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_weights_flip_only_what_rounding_can(backend, dtype, device):
    T, fan_in = 16, 9 * 63
    words = random_words(torch.Generator().manual_seed(1), (2, 5, 7, 63), T)
    weight = (torch.randn(33, 63, 3, 3) / fan_in**0.5).to(dtype)
    args = ([words], [weight], torch.tensor(0.5), torch.tensor(1.0), None, T, [1, 1], [1, 1], [1, 1], [1], "soft", ">=")
    want_words, want_v, current = simulated(*args)
    given = tuple(
        [x.to(device) for x in a] if isinstance(a, list) and isinstance(a[0], torch.Tensor) else a for a in args
    )
    given = (*given[:2], *(x.to(device, dtype) for x in args[2:4]), *given[4:])
    got_words, got_v = directly(backend, given, want_v.shape)
    spikes = dense(want_words, T)
    before = 0.5 + current.cumsum(0) - (spikes.cumsum(0) - spikes)
    # each of T sums of fan_in terms, and T additions to V, is off by at most a rounding of its largest partial sum
    size = dense_convolution(dense(words, T), weight.abs(), [1, 1], [1, 1], [1, 1], 1).sum(0) + T + 1
    bound = torch.finfo(dtype).eps * (fan_in + T) * size
    spikes_equal_outside(got_words.cpu(), want_words, T, (before - 1).abs(), bound.expand(T, *bound.shape))
    same = got_words.cpu() == want_words
    assert same.double().mean() > 0.99
    membranes_close(got_v.cpu()[same], want_v[same], atol=bound.max().item())


def test_hand_example():
    # spikes of three inputs over two steps: 1 0, 1 1, 0 1; kernel (1, 2), no padding
    words = torch.tensor([[[0b01], [0b11], [0b10]]], dtype=torch.uint8)
    weight = torch.tensor([[[1, 2]]], dtype=torch.int32)
    # currents: step 0: 1+2, 1+0; step 1: 0+2, 1+2; threshold 3. V: 3 f, 2 | 1, 4 f 1
    words_out, v = conv_if([words], [weight], 2, 3, 0)
    assert words_out.tolist() == [[[0b01], [0b10]]] and v.tolist() == [[[2], [1]]]
    assert words_out.dtype == torch.uint8 and v.dtype == torch.int32
    # beyond 3 only: V: 3, 5 f 2 | 1, 4 f 1
    words_out, v = conv_if([words], [weight], 2, 3, 0, comparator=">")
    assert words_out.tolist() == [[[0b10], [0b10]]] and v.tolist() == [[[2], [1]]]
    # stride 2, padding 1: windows (-, 1st) and (2nd, 3rd). Currents 2, 1 | 0, 3; to zero. V: 2, 2 | 1, 4 f 0
    words_out, v = conv_if([words], [weight], 2, 3, 0, stride=[2], padding=[1], reset="hard")
    assert words_out.tolist() == [[[0b00], [0b10]]] and v.tolist() == [[[2], [0]]]


def test_hand_example_with_a_residual():
    # 2 channels, one position: 1x1 weights (1, 1), (0, 2) of words 11, 01, and the identity of words 10, 00
    words = torch.tensor([[[0b11, 0b01]]], dtype=torch.uint8)
    skip = torch.tensor([[[0b10, 0b00]]], dtype=torch.uint8)
    weight = torch.tensor([[1.0, 1.0], [0.0, 2.0]])[..., None]
    identity = torch.ones(2, 1, 1)
    # currents: step 0: 1+1, 2; step 1: 1+1, 0. Threshold 2 and 1.5: V 2 f 0, 2 f 0 | 2 f 0.5, 0.5
    out, v = conv_if([words, skip], [weight, identity], 2, torch.tensor([2.0, 1.5]), groups=[1, 2])
    assert out.tolist() == [[[0b11, 0b01]]] and v.tolist() == [[[0.0, 0.5]]]


@st.composite
def layers(draw):
    """(words, weight, v, threshold, T, geometry), fixed point, 1 to 3 dimensions."""
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    dims, T = draw(st.integers(1, 3)), draw(st.integers(1, 32))
    inputs, outputs = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    kernel = [draw(st.integers(1, 3)) for _ in range(dims)]
    words = random_words(g, (2, *[5, 6, 7][:dims], inputs), T)
    weight = torch.randint(-4, 5, (outputs, inputs, *kernel), generator=g, dtype=torch.int32)
    names = ("stride", 1, 2), ("padding", 0, 1), ("dilation", 1, 2)
    geometry = {name: [draw(st.integers(a, b)) for _ in range(dims)] for name, a, b in names}
    v, threshold = (torch.randint(1, 12, (outputs,), generator=g, dtype=torch.int32) for _ in range(2))
    return words, weight, v, threshold, T, geometry


@given(layers())
def test_charge_is_conserved_and_spikes_are_0_and_1(layer):
    words, weight, v, threshold, T, geometry = layer
    copies = words.clone(), weight.clone(), v.clone(), threshold.clone()
    out, after = conv_if([words], [weight], T, threshold, v, **geometry)
    assert all(torch.equal(x, copy) for x, copy in zip(layer[:4], copies, strict=True))
    current = dense_convolution(dense(words, T), weight, *geometry.values(), 1)
    spikes = dense(out, T)
    assert torch.equal(out, words_of(spikes))
    assert torch.equal(current.sum(0), threshold * spikes.sum(0) + after - v)


@given(layers(), st.data())
def test_two_runs_that_carry_the_potential_are_one_run(layer, data):
    words, weight, v, threshold, T, geometry = layer
    out, after = conv_if([words], [weight], T, threshold, v, **geometry)
    cut = data.draw(st.integers(0, T))
    spikes, parts = dense(words, T), []
    for part in (spikes[:cut], spikes[cut:]):
        if len(part):
            some, v = conv_if([words_of(part)], [weight], len(part), threshold, v, **geometry)
            parts.append(dense(some, len(part)))
    assert torch.equal(torch.cat(parts), dense(out, T)) and torch.equal(after, v.expand(after.shape))


@given(layers(), st.randoms())
def test_permuted_channels_and_images(layer, random):
    words, weight, v, threshold, T, geometry = layer
    out, after = conv_if([words], [weight], T, threshold, v, **geometry)
    outputs, inputs = (random.sample(range(n), n) for n in weight.shape[:2])
    got = conv_if(
        [words[..., inputs].flip(0)], [weight[outputs][:, inputs]], T, threshold[outputs], v[outputs], **geometry
    )
    assert torch.equal(got[0], out.flip(0)[..., outputs]) and torch.equal(got[1], after.flip(0)[..., outputs])


@given(layers())
def test_an_input_split_by_channels_is_the_same_input(layer):
    words, weight, v, threshold, T, geometry = layer
    want = conv_if([words], [weight], T, threshold, v, **geometry)
    C = words.shape[-1]
    got = conv_if(
        list(words.split(1, -1)), list(weight.split(1, 1)), T, threshold, v, **{k: x * C for k, x in geometry.items()}
    )
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("sign", [1, -1])
def test_fixed_point_never_wraps(backend, sign, device):
    """Nine weights of 2^30 together, over many chunks: far beyond 32 bits in one step."""
    words = torch.full((1, 3, 3, 1), -1, dtype=torch.int32, device=device)
    weight = torch.full((1, 1, 3, 3), sign * 2**30, dtype=torch.int32, device=device)
    theta, v = (torch.tensor(x, dtype=torch.int32, device=device) for x in (2**24, 0))
    for _ in range(6):
        args = ([words], [weight], v, theta, None, 32, [1, 1], [0, 0], [1, 1], [1], "soft", ">=")
        out, v = directly(backend, args, (1, 1, 1, 1))
        assert out.item() == (-1 if sign > 0 else 0) and v.item() == sign * LIMIT


def test_all_dtypes_give_the_same_spikes(device):
    words = random_words(torch.Generator().manual_seed(2), (2, 5, 5, 7), 9).to(device)
    units = torch.randint(-3, 5, (6, 7, 3, 3), device=device)
    results = [
        conv_if([words], [(units * u).to(d)], 9, 8 * u, 4 * u, padding=[1, 1])
        for d, u in UNIT.items()
        if d != torch.int16
    ]
    assert all(torch.equal(out, results[0][0]) for out, _ in results)


def test_keeps_the_contract_with_torch():
    lists = {"words": [torch.randint(0, 16, (2, 3, 3, 2), dtype=torch.uint8)], "weights": [torch.rand(3, 2, 3, 3)]}
    for change in (
        lists,
        {"words": [torch.zeros(2, 2, 3, 3, dtype=torch.int16).permute(0, 2, 3, 1)],
         "weights": [torch.rand(2, 3, 3, 3).transpose(0, 1)], "T": 16},
        {"words": [torch.zeros(0, 3, 3, 2, dtype=torch.uint8)]},
        {"T": 1, "bias": torch.rand(1, 1, 1, 1, 3)},
        {"words": lists["words"] * 2, "weights": lists["weights"] * 2, "stride": [1] * 4, "padding": [0] * 4,
         "dilation": [1] * 4, "groups": [1, 1]},
    ):  # fmt: skip
        keeps_the_contract(DOOR, tuple(arguments(**change).values()))


def test_compiles_as_one_graph():
    def layer(words, weight):
        return conv_if([words], [weight * 2], 9, 1.0, 0.5, padding=[1, 1])

    words = random_words(torch.Generator().manual_seed(3), (2, 4, 5, 3), 9)
    weight = torch.randint(-4, 5, (6, 3, 3, 3)) / 8
    compiles(layer, words, weight)
    compiles(layer, words.transpose(1, 2), weight, dynamic=True)


def test_backward_raises():
    words, weight = torch.ones(1, 3, 1, dtype=torch.uint8), torch.ones(1, 1, 2, requires_grad=True)
    out, v = conv_if([words], [weight], 4)
    assert not out.requires_grad
    with pytest.raises(RuntimeError, match="no autograd formula"):
        v.sum().backward()


@NEURON_REFUSALS
def test_refuses_what_does_not_fit_the_neurons(change, error, match):
    refuses(DOOR, arguments(**change), error, "conv_if: " + match)


BYTE = torch.zeros(2, 3, 3, 2, dtype=torch.uint8)


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"T": 0}, ValueError, "T must be 1 to 32 .*got 0"),
        ({"T": 33}, ValueError, "T must be 1 to 32 .*got 33"),
        ({"T": 9}, ValueError, "T=9 time-steps do not fit words of torch.uint8"),
        ({"words": [BYTE.float()]}, TypeError, "words must be uint8, int16 or int32, got torch.float32"),
        ({"words": [BYTE, BYTE]}, ValueError, "needs one weight for each words tensor, got 2 words, 1 weights"),
        ({"words": [], "weights": []}, ValueError, "needs one weight .*got 0 words, 0 weights"),
        ({"weights": [torch.ones(3, 2, 3, 3).long()]}, TypeError, "values must be float32, .*got torch.int64"),
        ({"weights": [torch.ones(3, 2, 3, 3, device="meta")]}, ValueError, r"weights\[0\] must be on cpu .*got meta"),
        ({"words": [BYTE, BYTE], "weights": [torch.ones(3, 2, 3, 3), torch.ones(3, 2, 3, 3).double()]}, TypeError,
         r"weights\[1\] must be torch.float32 or .*bfloat16 like the other values, got torch.float64"),
        ({"words": [BYTE, BYTE[:1]], "weights": [torch.ones(3, 2, 3, 3)] * 2}, ValueError,
         r"one batch size on one device, got \[\(\(2, 3, 3, 2\), 'cpu'\), \(\(1, 3, 3, 2\), 'cpu'\)\]"),
        ({"stride": [1]}, ValueError, r"stride must be 2 numbers of at least 1 \(2 an input\), got \[1\]"),
        ({"stride": [0, 1]}, ValueError, r"stride must be 2 numbers of at least 1 .*got \[0, 1\]"),
        ({"padding": [-1, 0]}, ValueError, r"padding must be 2 numbers of at least 0 .*got \[-1, 0\]"),
        ({"dilation": [1, 0]}, ValueError, r"dilation must be 2 numbers of at least 1 .*got \[1, 0\]"),
        ({"groups": [1, 1]}, ValueError, r"groups must be 1 numbers of at least 1, got \[1, 1\]"),
        ({"groups": [0]}, ValueError, r"groups must be 1 numbers of at least 1, got \[0\]"),
        ({"weights": [torch.ones(3, 2, 3)]}, ValueError, r"with 1 to 3 spatial dimensions, got .*\(3, 2, 3\)"),
        ({"words": [BYTE[:, 0, 0]], "weights": [torch.ones(3, 2)], "stride": [], "padding": [], "dilation": []},
         ValueError, r"with 1 to 3 spatial dimensions, got \(2, 2\) and \(3, 2\)"),
        ({"weights": [torch.ones(3, 1, 3, 3)]}, ValueError,
         r"weights\[0\] must be .*C=2, groups=1, O divisible by groups, got \(3, 1, 3, 3\)"),
        ({"weights": [torch.ones(3, 1, 3, 3)], "groups": [2]}, ValueError, r"C=2, groups=2, .* got \(3, 1, 3, 3\)"),
        ({"weights": [torch.ones(0, 2, 3, 3)]}, ValueError, r"O divisible by groups, got \(0, 2, 3, 3\)"),
        ({"weights": [torch.ones(3, 2, 4, 3)]}, ValueError, r"one and the same output .*got \[\(2, 0, 1, 3\)\]"),
        ({"words": [BYTE, BYTE], "weights": [torch.ones(3, 2, 3, 3), torch.ones(3, 2, 2, 2)], "stride": [1] * 4,
          "padding": [0] * 4, "dilation": [1] * 4, "groups": [1, 1]}, ValueError,
         r"one and the same output .*got \[\(2, 1, 1, 3\), \(2, 2, 2, 3\)\]"),
    ],
)  # fmt: skip
def test_refuses(change, error, match):
    refuses(DOOR, arguments(**change), error, "conv_if: .*" + match)


def test_refuses_a_call_without_inputs():
    with pytest.raises(ValueError, match="conv_if: needs at least one input, got 0 words and 1 weights"):
        conv_if([], [torch.ones(3, 2, 3)], 4)


def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch):
    forced_backends_answer(monkeypatch, lambda: conv_if([BYTE], [torch.ones(3, 2, 3, 3)], 4), BACKENDS)


def test_layout_does_not_matter(device):
    words = random_words(torch.Generator().manual_seed(4), (2, 7, 9, 4), 16).to(device).permute(0, 3, 2, 1)[..., ::2]
    weight = (torch.randint(-4, 5, (3, 2, 4, 6), device=device) / 8).permute(3, 2, 1, 0)
    v = torch.zeros(6, 7, device=device).T
    out, after = conv_if([words], [weight], 16, 1.0, v, padding=[1, 0])
    assert out.is_contiguous() and after.is_contiguous()
    given = ([words], [weight], v, torch.tensor(1.0), None, 16, [1, 1], [1, 0], [1, 1], [1], "soft", ">=")
    want, want_v, _ = simulated(*given)
    spikes_equal(out.cpu(), want, 16)
    membranes_close(after, want_v)


def test_no_images_and_one_neuron(device):
    weight = torch.ones(5, 2, 3, 3, device=device)
    out, v = conv_if([torch.zeros(0, 3, 4, 2, dtype=torch.int16, device=device)], [weight], 9)
    assert out.shape == v.shape == (0, 1, 2, 5) and out.dtype == torch.int16
    out, v = conv_if([torch.ones(1, 1, 1, dtype=torch.uint8, device=device)], [torch.ones(1, 1, 1, device=device)], 3)
    assert out.tolist() == [[[1]]] and v.tolist() == [[[0.0]]]
