"""Sums that are products of 8-bit matrices give what the definition gives, in registers and without them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planned import SHAPES, layer, plan_of, same, same_on_threads
from sets import SETS, codes, tiles, using

from fastsnn import _native
from fastsnn.ops._plan import Plan
from fastsnn.spikes import word_dtype
from fastsnn.testing.cases import random_words

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))

LIMITS = {torch.int16: (-(2**15), 2**15 - 1), torch.int32: (-(2**29), 2**29)}


@pytest.fixture(params=[name for name in SETS if name in ("amx", "avx512vbmi2")])
def instruction_set(request):
    with using(request.param):
        yield request.param


def test_registers_and_what_stands_in_for_them():
    kinds = {"amx": "hardware", "avx512vbmi2": "emulated"}
    for name in SETS:
        with using(name):
            assert _native.load().tiles() == kinds.get(name, "none")


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("T", [1, 4, 8, 16, 17, 32])
def test_products_of_every_shape_give_the_same(instruction_set, dtype, shape, T):
    args = layer(T, dtype, T=T, **shape)
    plan, out = plan_of(args, "tiles")
    assert plan.way == "tiles" and plan._plan.instruction_set == instruction_set
    assert same_on_threads(args, plan, out)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_rows_of_more_inputs_than_16_bits_number(instruction_set, dtype):
    args = layer(0, dtype, (1, 300), (1, 1), 256, 17, 16, batch=1)
    plan, out = plan_of(args, "tiles")
    assert plan.way == "tiles" and same_on_threads(args, plan, out)


@given(
    st.integers(0, 2**16), st.sampled_from([torch.int16, torch.int32]), st.integers(1, 9), st.integers(1, 9),
    st.integers(1, 140), st.integers(1, 70), st.integers(1, 32), st.integers(1, 3), st.integers(0, 2),
)  # fmt: skip
def test_any_convolution(seed, dtype, height, width, channels, outputs, T, stride, padding):
    args = layer(seed, dtype, (max(height, 3), max(width, 3)), (3, 3), channels, outputs, T, stride=stride,
                 padding=[padding, 2 - padding])  # fmt: skip
    for name in SETS:
        with using(name):
            if tiles():
                assert same(args, *plan_of(args, "tiles"))


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_weights_of_any_size(instruction_set, dtype):
    """Digits of 8 bits have a sign: each border between their numbers, and blocks that need more than others."""
    least, most = LIMITS[dtype]
    borders = [s * (2**n + d) for n in (0, 6, 7, 8, 14, 15, 16, 22, 23, 24, 28) for d in (-1, 0, 1) for s in (-1, 1)]
    borders = [w for w in (*borders, 127 * 257, 127 * 257 + 1, least, most) if least <= w <= most]
    args = list(layer(0, dtype, (4, 5), (1, 1), 1, len(borders), 16))
    args[1] = [torch.tensor(borders, dtype=dtype).view(-1, 1, 1, 1)]
    plan, out = plan_of(args, "tiles")
    assert plan.way == "tiles" and same(args, plan, out)
    small = torch.zeros(64, 1, 1, 1, dtype=dtype)
    small[:3] = 5
    args = list(layer(1, dtype, (4, 5), (1, 1), 1, 64, 16))
    sizes = []
    for weight in (small, torch.where(small > 0, most, small)):
        args[1] = [weight]
        plan, out = plan_of(args, "tiles")
        assert same(args, plan, out)
        sizes.append(plan._plan.weight_bytes)
    # four blocks of 16, or two of 32, of which the first has four, or two, digits
    assert sizes[1] == sizes[0] * (7 if dtype == torch.int32 else 3) // (4 if dtype == torch.int32 else 2)


def test_identities_are_looked_at_and_neurons_go_on(instruction_set):
    """An odd number of strips: the last has no company."""
    g = torch.Generator().manual_seed(0)
    args = layer(6, torch.int16, (5, 3), (3, 3), 40, 40, 16, batch=1)
    words, weights, v, theta, bias, T, stride, _, dilation, _, *rules = args
    shortcut = torch.full((40, 1, 1, 1), 300, dtype=torch.int16)
    more = random_words(g, words[0].shape, 16)
    geometry = stride * 2, [1, 1, 0, 0], dilation * 2, [1, 40]
    both = ([*words, more], [*weights, shortcut], v, theta, bias, T, *geometry, *rules)
    plan, shape = plan_of(both, "tiles")
    assert plan.way == "tiles" and same(both, plan, shape)
    first = plan(both[0], T)
    assert same((*both[:2], first[1], *both[3:]), lambda words, T: plan(words, T, first[1]), shape)


def test_steps_may_change_from_call_to_call(instruction_set):
    """Memory of a longer run has steps behind the last of a shorter one, and other rows of inputs."""
    args = layer(3, torch.int16, (4, 4), (3, 3), 40, 40, 32)
    plan, out = plan_of(args, "tiles")
    for T in (32, 1, 16, 5, 17, 2):
        words = [(w.long() & (2**T - 1)).to(word_dtype(T)) for w in args[0]]
        change = (words, *args[1:4], args[4][:T], T, *args[6:])
        assert same(change, lambda words, T: plan(words, T, bias=args[4][:T]), out)


def test_what_cannot_be_multiplied_is_taken_from_lists(instruction_set):
    """A pool of which more inputs spike than a byte counts, rows of too many tiles, dilation, groups, real numbers."""
    words = torch.full((1, 17, 34, 3), 2**15 - 1, dtype=torch.int16)
    pool = torch.full((2, 3, 17, 17), 2, dtype=torch.int16)
    theta = torch.tensor(999, dtype=torch.int16)
    rest = theta // 2, theta, None, 9
    large = ([words], [pool], *rest, [17, 17], [0, 0], [1, 1], [1], "soft", ">=")
    cases = [(large, "lists"), (([words[:, :15, :30]], [pool[..., :15, :15]], *rest, [15, 15], *large[7:]), "tiles")]
    weight = torch.ones(4, 3, 1, 3, dtype=torch.int16)
    cases.append((([words], [weight], *rest, [1, 1], [0, 0], [1, 2], [1], "soft", ">="), "lists"))
    cases.append((([words], [weight[:3, :1]], *rest, [1, 1], [0, 0], [1, 1], [3], "soft", ">="), "lists"))
    long = torch.full((1, 1, 2**15, 70), -1, dtype=torch.int16)
    cases.append((([long], [torch.ones(1, 70, 1, 1, dtype=torch.int16)], *rest, *large[6:]), "lists"))
    for args, way in cases:
        args = ([w.contiguous() for w in args[0]], [w.contiguous() for w in args[1]], *args[2:])
        plan, shape = plan_of(args, "tiles")
        assert plan.way == way and same(args, plan, shape)
    one = torch.tensor(1.0)
    real = Plan([(4,)], [torch.ones(2, 4)], (1, 2), one, one, None, [], [], [], [1], "soft", ">=", way="tiles")
    assert real.way == "lists"


def test_registers_are_chosen_where_there_are_some():
    """But for layers of many outputs, unless their weights have 8 bits, of tiles that are half empty, of one tile."""
    words, weights, *rest = layer(0, torch.int32, (8, 8), (3, 3), 128, 128, 16)
    many, narrow = (words, weights, *rest), (words, [w // 2**14 for w in weights], *rest)
    cases = [(layer(0, torch.int16, (8, 8), (3, 3), 16, 16, 16), True), (many, False), (narrow, True)]
    cases += [(layer(0, torch.int16, (8, 8), (k, k), n, 32, 16), False) for n, k in ((24, 3), (64, 1))]
    for name in SETS:
        with using(name):
            for args, chosen in cases:
                assert (plan_of(args, "chosen")[0].way == "tiles") == (name == "amx" and (chosen or not codes()))
