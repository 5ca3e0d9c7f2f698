"""The native layer in every form: instruction set, block, number of threads, batch, split of T: one result."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sets import SETS, codes, tiles, using

from fastsnn import _native
from fastsnn.ops._plan import VECTORS, WAYS, Plan
from fastsnn.ops.conv_if import reference as conv_reference
from fastsnn.ops.conv_if.op import output_shape
from fastsnn.ops.pack import unpack
from fastsnn.spikes import word_dtype
from fastsnn.testing.cases import CASES, random_words

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))

EXACT = [case for case in CASES["conv_if"] if "int" in case.name]


@pytest.fixture(params=SETS)
def instruction_set(request):
    with using(request.param):
        yield request.param


def plan_of(args, vectors=0, way="chosen"):
    words, weights, v, threshold, bias, _, *geometry = args
    *numbers, groups, reset, comparator = geometry
    dims = words[0].ndim - 2
    shape = output_shape(words[0], weights[0], *(n[:dims] for n in numbers))
    inputs = [w.shape[1:] for w in words]
    return Plan(inputs, weights, shape, threshold, v, bias, *numbers, groups, reset, comparator, vectors, way), shape


def wanted(args, shape):
    return conv_reference.conv_if(*args, shape)


def same(got, want):
    return all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_the_machine_has_at_least_the_baseline():
    assert "baseline" in SETS
    assert _native.load().instruction_set() in SETS
    with pytest.raises(ValueError, match="does not run instruction set sse9"):
        _native.load().select_instruction_set("sse9")


@pytest.mark.parametrize("vectors", [0, *VECTORS])
@pytest.mark.parametrize("way", ["chosen", "lists", "streams", "code", "tiles"])
def test_every_instruction_set_and_block_gives_the_same(instruction_set, vectors, way):
    for case in EXACT:
        args = case.arguments()
        plan, shape = plan_of(args, vectors, way)
        assert plan._plan.instruction_set == instruction_set
        assert plan.vectors == (1 if plan.way in ("code", "tiles") else vectors or plan.vectors)
        assert same(plan(args[0], args[5]), wanted(args, shape)), case.name


def test_looking_at_every_word_gives_the_same(instruction_set):
    for case in EXACT:
        if "grouped" in case.name or "depthwise" in case.name:
            args = case.arguments()
            for vectors in VECTORS:
                plan, shape = plan_of(args, vectors, "words")
                assert same(plan(args[0], args[5]), wanted(args, shape)), case.name


def currents_of(args, shape, biased):
    """What spikes, and biases, add up to at each step: [T, B, *S', O], in float64, which holds whole sums exactly."""
    words, weights, _, _, bias, T, stride, padding, dilation, groups, *_ = args
    dims = len(shape) - 2
    total = torch.zeros(T, *shape, dtype=torch.float64)
    for i, (word, weight) in enumerate(zip(words, weights, strict=True)):
        geometry = (numbers[i * dims : (i + 1) * dims] for numbers in (stride, padding, dilation))
        spikes = unpack(word, T).double().flatten(0, 1)
        total += conv_reference.convolve(spikes, weight.double(), *geometry, groups[i]).unflatten(0, (T, -1))
    return total + bias if biased and bias is not None else total


@pytest.mark.parametrize("vectors", [0, *VECTORS])
@pytest.mark.parametrize("way", WAYS)
def test_currents_are_what_neurons_are_driven_with(instruction_set, vectors, way):
    seen = 0
    for case in EXACT:
        args = case.arguments()
        plan, shape = plan_of(args, vectors, way)
        out = torch.empty((args[5], *shape), dtype=torch.int32)
        reach = sum(w.double().abs().flatten(1).sum(1).max() for w in args[1])
        reach += 0 if args[4] is None else args[4].double().abs().max()
        if plan.dtype != torch.int32 or reach >= 2**30:
            with pytest.raises(ValueError, match="weights of 32 bits whose sums stay below 2\\^30"):
                plan.currents(args[0], args[5], True, out)
            continue
        for biased in (False, True):
            want = currents_of(args, shape, biased)
            assert torch.equal(plan.currents(args[0], args[5], biased, out), want.int()), case.name
        seen += 1
    assert seen >= 10


def test_currents_of_narrow_wide_and_long_layers():
    """Strips of several positions, more outputs than a block, more steps than one turn of code, and threads."""
    g = torch.Generator().manual_seed(3)
    for channels, outputs, T in ((5, 3, 32), (40, 70, 17), (130, 300, 16), (16, 16, 1)):
        weight = torch.randint(-(2**16), 2**16, (outputs, channels, 3, 3), generator=g, dtype=torch.int32)
        words = random_words(g, (2, 6, 9, channels), T)
        one = torch.ones((), dtype=torch.int32)
        args = ([words], [weight], one, one, None, T, [1, 1], [1, 1], [1, 1], [1], "soft", ">=")
        plan, shape = plan_of(args)
        want = currents_of(args, shape, False).int()
        for threads in (1, 3):
            torch.set_num_threads(threads)
            got = plan.currents([words], T, True, torch.empty_like(want))
            assert torch.equal(got, want)
        words[0, 0, 0, 0] ^= 1
        assert not torch.equal(plan.currents([words], T, True, torch.empty_like(want)), want)


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_give_the_same(threads):
    torch.set_num_threads(threads)
    for case in EXACT:
        args = case.arguments()
        plan, shape = plan_of(args)
        assert same(plan(args[0], args[5]), wanted(args, shape)), case.name


def simple(words, weight, T, **change):
    """A 3x3 convolution with padding, in 32 or 16 bits: its plan, and what the reference gives."""
    number = {torch.int32: 2**24, torch.int16: 2**12}[weight.dtype]
    theta, v = (torch.tensor(x, dtype=weight.dtype) for x in (number, number // 2))
    args = ([words], [weight], v, theta, None, T, [1, 1], [1, 1], [1, 1], [1], "soft", ">=")
    plan, shape = plan_of(args, **change)
    return plan, wanted(args, shape)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16])
def test_wide_layers_blocks_and_threads(dtype):
    """More outputs than a block, more weights than the cache takes, blocks shared out to threads."""
    g = torch.Generator().manual_seed(0)
    scale = {torch.int32: 2**20, torch.int16: 2**8}[dtype]
    weight = torch.randint(-scale, scale, (300, 130, 3, 3), generator=g).to(dtype)
    words = random_words(g, (2, 5, 6, 130), 9)
    plan, want = simple(words, weight, 9)
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        assert same(plan([words], 9), want)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16])
@pytest.mark.parametrize(
    ("size", "kernel", "channels"),
    [((3, 40), (3, 3), 7), ((4, 4), (3, 3), 200), ((2, 3, 5), (2, 3, 1), 70), ((3, 260), (2, 5), 9), ((9,), (3,), 100)],
    ids=["segments of a row", "several images a band", "deep", "a long row", "one row"],
)
def test_streams_of_every_shape_give_the_same(instruction_set, dtype, size, kernel, channels):
    """Bands of part of a row, of rows and of images; channels in several chunks; rows of kernels outside the image."""
    g = torch.Generator().manual_seed(4)
    unit = 2**14 if dtype == torch.int32 else 2**6
    weight = (torch.randint(-4, 6, (20, channels, *kernel), generator=g) * unit).to(dtype)
    words = random_words(g, (5, *size, channels), 17)
    words &= random_words(g, words.shape, 17)
    theta, dims = torch.tensor(30 * unit, dtype=dtype), len(size)
    geometry = ([1] * dims, [k // 2 for k in kernel], [1] * dims, [1], "soft", ">=")
    args = ([words], [weight], theta // 2, theta, None, 17, *geometry)
    for vectors in VECTORS:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            plan, shape = plan_of(args, vectors, "streams")
            assert plan.way == "streams"
            assert same(plan([words], 17), wanted(args, shape))


def test_what_cannot_be_streamed_is_taken_from_lists():
    """Floating-point sums depend on their order; groups read their own channels; a wide row fills the cache alone."""
    g = torch.Generator().manual_seed(5)
    words = random_words(g, (1, 6, 6, 4), 3)
    one, numbers = torch.tensor(1.0), ([1, 1], [1, 1], [1, 1])
    weight = torch.randn(4, 4, 3, 3, generator=g)
    assert (
        plan_of(([words], [weight], one / 2, one, None, 3, *numbers, [1], "soft", ">="), 0, "streams")[0].way == "lists"
    )
    number = torch.tensor(2**20, dtype=torch.int32)
    weight = torch.ones(4, 2, 3, 3, dtype=torch.int32)
    args = ([words], [weight], number, number, None, 3, *numbers, [2], "soft", ">=")
    assert plan_of(args, 0, "streams")[0].way == "lists" and plan_of(args, 0, "words")[0].way == "words"
    wide = random_words(g, (1, 1, 9000, 8), 3)
    args = ([wide], [torch.ones(2, 8, 1, 3, dtype=torch.int32)], number, number, None, 3, [1, 1], [0, 1], [1, 1], [1])
    plan, shape = plan_of((*args, "soft", ">="), 0, "streams")
    assert plan.way == "lists" and same(plan([wide], 3), wanted((*args, "soft", ">="), shape))


@pytest.mark.parametrize("way", ["lists", "streams", "code", "tiles"])
@pytest.mark.parametrize("pool", [(2, 2), (1, 3), (4, 4)], ids=str)
def test_inputs_of_a_pool_are_counted(instruction_set, way, pool):
    """Weights that repeat are those of a pool in front: how many of its inputs spike is a number of several digits."""
    g = torch.Generator().manual_seed(6)
    small = torch.randint(-(2**12), 2**13, (20, 70, 3, 2), generator=g).int()
    weight = small.repeat_interleave(pool[0], 2).repeat_interleave(pool[1], 3).contiguous()
    words = random_words(g, (2, 4 * pool[0], 5 * pool[1], 70), 20)
    words[:, : pool[0], : 2 * pool[1]] = -1
    theta = torch.tensor(2**19, dtype=torch.int32)
    geometry = (list(pool), [pool[0], 0], [1, 1], [1], "soft", ">=")
    args = ([words], [weight], theta // 2, theta, None, 20, *geometry)
    plan, shape = plan_of(args, 0, way)
    assert plan.way == (way if {"code": codes, "tiles": tiles}.get(way, lambda: True)() else "lists")
    assert same(plan([words], 20), wanted(args, shape))


def test_more_rows_than_sixteen_bits_count():
    """K = 66,000 inputs: the lists hold 32-bit rows."""
    g = torch.Generator().manual_seed(0)
    words, weight = random_words(g, (2, 66_000), 3), torch.randint(-300, 400, (3, 66_000), generator=g).int()
    theta, v = torch.tensor(2**20, dtype=torch.int32), torch.tensor(0, dtype=torch.int32)
    plan = Plan([(66_000,)], [weight], (2, 3), theta, v, None, [], [], [], [1], "soft", ">=")
    spikes = torch.stack([(words >> t) & 1 for t in range(3)]).long()
    current, potential, want = spikes @ weight.long().T, 0, 0
    for t in range(3):
        potential = potential + current[t]
        fired = potential >= 2**20
        potential = (potential - fired * 2**20).clamp(-(2**30), 2**30)
        want = want | (fired.long() << t)
    got, after = plan([words], 3)
    assert torch.equal(got.long(), want) and torch.equal(after.long(), potential)


def test_a_long_row_of_positions():
    """A row of 70,000 inputs, in one dimension."""
    g = torch.Generator().manual_seed(0)
    words = random_words(g, (1, 35_000, 2), 5)
    weight = torch.randint(-(2**22), 2**23, (3, 2, 3), generator=g).int()
    theta = torch.tensor(2**24, dtype=torch.int32)
    args = ([words], [weight], theta // 2, theta, None, 5, [1], [1], [1], [1], "soft", ">=")
    plan, shape = plan_of(args)
    assert same(plan([words], 5), wanted(args, shape))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16])
def test_more_than_65536_outputs_and_any_split_of_T(dtype):
    g = torch.Generator().manual_seed(1)
    weight = torch.randint(-600, 900, (3, 2, 3, 3), generator=g).to(dtype) * (2**12 if dtype == torch.int32 else 1)
    words = random_words(g, (1, 260, 260, 2), 31)
    plan, want = simple(words, weight.to(dtype), 31)
    whole = plan([words], 31)
    assert same(whole, want)
    v, joined, start = None, 0, 0
    for T in (1, 8, 9, 13):
        part = (words.long() >> start) & (2**T - 1)
        out, v = plan([part.to(word_dtype(T))], T, v)
        joined = joined | ((out.long() & (2**T - 1)) << start)
        start += T
    assert torch.equal(joined, whole[0].long() & (2**31 - 1)) and torch.equal(v, whole[1])
    assert plan([words], 31, keep=False)[1] is None


def test_images_do_not_depend_on_their_batch():
    g = torch.Generator().manual_seed(2)
    weight = torch.randint(-(2**21), 2**22, (7, 5, 3, 3), generator=g).int()
    words = random_words(g, (9, 6, 7, 5), 16)
    plan, want = simple(words, weight, 16)
    assert same(plan([words], 16), want)
    for i in range(9):
        alone = plan([words[i : i + 1].contiguous()], 16)
        assert torch.equal(alone[0][0], want[0][i]) and torch.equal(alone[1][0], want[1][i])
    assert plan([words[:0]], 16)[0].shape == (0, *want[0].shape[1:])


def test_a_pool_in_front_is_found_and_changes_nothing():
    """Taps that repeat are listed once: the weights of a 6x6 kernel made of 2x2 equal taps are those of a 3x3 one."""
    g = torch.Generator().manual_seed(3)
    small = torch.randint(-(2**20), 2**21, (20, 6, 3, 3), generator=g).int()
    weight = small.repeat_interleave(2, 2).repeat_interleave(2, 3).contiguous()
    words = random_words(g, (2, 8, 12, 6), 16)
    theta = torch.tensor(2**24, dtype=torch.int32)
    args = ([words], [weight], theta // 2, theta, None, 16, [2, 2], [2, 2], [1, 1], [1], "soft", ">=")
    plan, shape = plan_of(args, way="lists")
    assert same(plan([words], 16), wanted(args, shape))
    spoilt = weight.clone()
    spoilt[0, 0, 0, 0] += 1
    other, _ = plan_of((args[0], [spoilt], *args[2:]), way="lists")
    assert other._plan.weight_bytes > 3 * plan._plan.weight_bytes


@st.composite
def layers(draw):
    """A layer of any geometry, its words anywhere between silent and always on."""
    dims = draw(st.integers(1, 3))
    seed, T = draw(st.integers(0, 2**16)), draw(st.integers(1, 32))
    g = torch.Generator().manual_seed(seed)
    groups, per_group, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 20))
    kernel = [draw(st.integers(1, 4)) for _ in range(dims)]
    stride = [draw(st.integers(1, 3)) for _ in range(dims)]
    dilation = [draw(st.integers(1, 2)) for _ in range(dims)]
    padding = [draw(st.integers(0, 3)) for _ in range(dims)]
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    sizes = [n + draw(st.integers(0, 5)) for n in least]
    dtype = draw(st.sampled_from([torch.int32, torch.int16]))
    unit = 2**20 if dtype == torch.int32 else 2**8
    words = random_words(g, (draw(st.integers(0, 3)), *sizes, groups * per_group), T)
    if draw(st.booleans()):
        words = torch.full_like(words, -1 if words.dtype != torch.uint8 else 255)
    weight = (torch.randint(-8, 9, (groups * outputs, per_group, *kernel), generator=g) * unit).to(dtype)
    theta = (torch.randint(1, 40, (groups * outputs,), generator=g) * unit).to(dtype)
    bias = (torch.randint(-9, 9, (T, *[1] * (dims + 1), groups * outputs), generator=g) * unit).to(dtype)
    rules = draw(st.sampled_from(["soft", "hard"])), draw(st.sampled_from([">=", ">"]))
    return [words], [weight], theta // 2, theta, bias, T, stride, padding, dilation, [groups], *rules


@given(layers(), st.sampled_from(VECTORS), st.sampled_from(WAYS), st.integers(1, 3), st.data())
def test_any_layer(args, vectors, way, threads, data):
    before = _native.load().instruction_set()
    _native.load().select_instruction_set(data.draw(st.sampled_from(SETS)))
    torch.set_num_threads(threads)
    plan, shape = plan_of(args, vectors, way)
    _native.load().select_instruction_set(before)
    assert same(plan(args[0], args[5]), wanted(args, shape))


def test_more_inputs_than_a_layer_takes_are_refused_and_not_written_past():
    number = torch.tensor(2**24, dtype=torch.int32)
    for count, channels in ((33, 1), (70, 0)):
        weights = [torch.ones(3, channels, dtype=torch.int32)] * count
        with pytest.raises(ValueError, match=f"at most 32 inputs of a kind, got {count}"):
            Plan([(channels,)] * count, weights, (1, 3), number, number, None, [], [], [], [1] * count, "soft", ">=")
