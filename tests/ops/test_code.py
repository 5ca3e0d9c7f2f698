"""Spikes that become code give what the definition gives; where memory can't be executed, layers run another way."""

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sets import SETS, codes, using

from fastsnn import _native
from fastsnn.ops._plan import Plan
from fastsnn.ops.conv_if import reference
from fastsnn.ops.conv_if.op import output_shape
from fastsnn.spikes import word_dtype
from fastsnn.testing.cases import random_words

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))

UNIT = {torch.int16: 2**7, torch.int32: 2**14}


@pytest.fixture(params=[name for name in SETS if name.startswith("avx512")])
def instruction_set(request):
    with using(request.param):
        if not codes():
            pytest.skip("this machine does not execute memory that is written")
        yield request.param


def layer(seed, dtype, size, kernel, channels, outputs, T, batch=2, stride=1, rate=1, inputs=1, padding=None):
    """A convolution's arguments: words with anything behind step T, of neurons that spike at a rate of 1 / 2^rate."""
    g = torch.Generator().manual_seed(seed)
    dims = len(size)
    padding = [k // 2 for k in kernel] if padding is None else padding
    words = []
    for _ in range(inputs):
        some = random_words(g, (batch, *size, channels), 32)
        for _ in range(rate - 1):
            some &= random_words(g, some.shape, 32)
        silent = torch.rand(some.shape, generator=g) < 0.4
        words.append(torch.where(silent, torch.zeros_like(some), some).to(word_dtype(T)))
    weight = [(torch.randint(-5, 8, (outputs, channels, *kernel), generator=g) * UNIT[dtype]).to(dtype) for _ in words]
    theta = (torch.randint(20, 60, (outputs,), generator=g) * UNIT[dtype]).to(dtype)
    bias = (torch.randint(-3, 4, (T, *[1] * (dims + 1), outputs), generator=g) * UNIT[dtype]).to(dtype)
    geometry = [stride] * dims * inputs, padding * inputs, [1] * dims * inputs, [1] * inputs, "soft", ">="
    return (words, weight, theta // 2, theta, bias, T, *geometry)


def plan_of(args, way="code"):
    words, weights, v, theta, bias, _, *geometry = args
    *numbers, groups, reset, comparator = geometry
    dims = words[0].ndim - 2
    shape = output_shape(words[0], weights[0], *(n[:dims] for n in numbers))
    inputs = [w.shape[1:] for w in words]
    return Plan(inputs, weights, shape, theta, v, bias, *numbers, groups, reset, comparator, 0, way), shape


def same(args, plan, shape):
    got, want = plan(args[0], args[5]), reference.conv_if(*args, shape)
    return all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


SHAPES = {
    "several parts of the channels": {"size": (5, 7), "kernel": (3, 3), "channels": 300, "outputs": 40},
    "neighbours share a block": {"size": (6, 11), "kernel": (3, 3), "channels": 9, "outputs": 5},
    "positions that nobody reads": {"size": (7, 10), "kernel": (1, 1), "channels": 70, "outputs": 33, "stride": 3},
    "padding beyond the kernel": {"size": (3, 4), "kernel": (2, 2), "channels": 5, "outputs": 70, "padding": [3, 4]},
    "a whole row is a segment": {"size": (2, 150), "kernel": (3, 5), "channels": 17, "outputs": 20},
    "several images a band": {"size": (2, 2), "kernel": (3, 3), "channels": 130, "outputs": 64, "batch": 9},
    "deep": {"size": (2, 3, 4), "kernel": (2, 3, 1), "channels": 20, "outputs": 12},
    "one position": {"size": (1, 1), "kernel": (1, 1), "channels": 257, "outputs": 70, "batch": 5},
    "several inputs": {"size": (4, 5), "kernel": (3, 3), "channels": 33, "outputs": 34, "inputs": 3},
}


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("T", [1, 8, 16, 17, 32])
def test_code_of_every_shape_gives_the_same(instruction_set, dtype, shape, T):
    args = layer(T, dtype, T=T, **shape)
    plan, out = plan_of(args)
    assert plan.way == "code" and plan._plan.instruction_set == instruction_set
    for threads in (1, 3):
        torch.set_num_threads(threads)
        assert same(args, plan, out)


@pytest.mark.parametrize("rate", [1, 2, 5])
def test_any_number_of_spikes_of_a_neuron(instruction_set, rate):
    args = layer(rate, torch.int16, (6, 6), (3, 3), 64, 32, 16, rate=rate)
    args[0][0][0, 0] = -1
    args[0][0][0, 1] = 0
    assert same(args, *plan_of(args))


@given(
    st.integers(0, 2**16), st.sampled_from([torch.int16, torch.int32]), st.integers(1, 9), st.integers(1, 9),
    st.integers(1, 140), st.integers(1, 70), st.integers(1, 32), st.integers(1, 3), st.integers(1, 4),
)  # fmt: skip
def test_any_convolution(seed, dtype, height, width, channels, outputs, T, stride, rate):
    args = layer(seed, dtype, (height, width), (3, 3), channels, outputs, T, stride=stride, rate=rate)
    assert same(args, *plan_of(args))


def test_steps_may_change_from_call_to_call():
    """Code for other numbers of steps follows in the same memory; what was left there of a longer run is not run."""
    plans = {T: layer(3, torch.int16, (4, 4), (3, 3), 40, 40, T) for T in (32, 1, 16, 5, 17, 2)}
    for _ in range(2):
        for args in plans.values():
            assert same(args, *plan_of(args))


@pytest.mark.parametrize("way", ["code", "chosen"])
def test_few_steps_and_few_outputs_may_take_the_streams_of_the_same_weights(way):
    args = layer(4, torch.int32, (8, 8), (3, 3), 16, 16, 16)
    plan, out = plan_of(args, way)
    for T in (1, 4, 8, 12, 16):
        words = [(w.long() & (2**T - 1)).to(word_dtype(T)) for w in args[0]]
        got = plan(words, T, bias=args[4][:T])
        want = reference.conv_if(words, *args[1:4], args[4][:T], T, *args[6:], out)
        assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])


def test_threads_of_python_have_memory_of_their_own():
    torch.set_num_threads(1)
    layers = [layer(i, torch.int16, (8, 8), (3, 3), 20 + 30 * i, 40, 16) for i in range(4)]
    made = [(args, *plan_of(args)) for args in layers]

    def run(i):
        return same(*made[i % len(made)])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(40)))


def test_neurons_that_go_on_and_words_of_identities_are_computed_abreast():
    """An odd number of strips: the last has no company. The shortcut's words are looked at for each of them."""
    g = torch.Generator().manual_seed(0)
    args = layer(6, torch.int16, (5, 3), (3, 3), 40, 40, 16, batch=1)
    words, weights, v, theta, bias, T, stride, _, dilation, _, *rules = args
    shortcut = torch.full((40, 1, 1, 1), 3 * UNIT[torch.int16], dtype=torch.int16)
    more = random_words(g, words[0].shape, 16)
    geometry = stride * 2, [1, 1, 0, 0], dilation * 2, [1, 40]
    both = ([*words, more], [*weights, shortcut], v, theta, bias, T, *geometry, *rules)
    plan, shape = plan_of(both)
    assert same(both, plan, shape)
    first = plan(both[0], T)
    again = plan(both[0], T, first[1])
    want = reference.conv_if(both[0], both[1], first[1], *both[3:], shape)
    assert torch.equal(again[0], want[0]) and torch.equal(again[1], want[1])


REFUSED = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(65, 1, 0, 0, 0) != 0:  # PR_SET_MDWE: no memory is written and executed
    sys.exit(77)
import torch
from fastsnn.ops._plan import Plan
words = torch.full((1, 8, 8, 40), 0x5a5a, dtype=torch.int64).to(torch.uint16)
weight = torch.full((40, 40, 3, 3), 7, dtype=torch.int16)
theta = torch.tensor(4000, dtype=torch.int16)
args = ([(8, 8, 40)], [weight], (1, 8, 8, 40), theta, theta // 2, None, [1, 1], [1, 1], [1, 1], [1], "soft", ">=")
lists, code = Plan(*args, 0, "lists"), Plan(*args, 0, "code")
assert code.way == "lists", code.way
assert Plan(*args).way == "streams"
assert all(torch.equal(a, b) for a, b in zip(lists([words], 16), code([words], 16)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to refuse memory that is written and executed")
def test_where_memory_that_is_written_cannot_be_executed_layers_run_another_way():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(REFUSED)], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel can't be asked to refuse such memory")
    assert done.returncode == 0, done.stderr
