"""Spikes that become code give what the definition gives; where memory can't be executed, layers run another way."""

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planned import SHAPES, UNIT, layer, plan_of, same, same_on_threads
from sets import SETS, codes, using

from fastsnn import _native
from fastsnn.ops.conv_if import reference
from fastsnn.spikes import word_dtype
from fastsnn.testing.cases import random_words

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))


@pytest.fixture(params=[name for name in SETS if name.startswith("avx512")])
def instruction_set(request):
    with using(request.param):
        if not codes():
            pytest.skip("this machine does not execute memory that is written")
        yield request.param


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("T", [1, 8, 16, 17, 32])
def test_code_of_every_shape_gives_the_same(instruction_set, dtype, shape, T):
    args = layer(T, dtype, T=T, **shape)
    plan, out = plan_of(args, "code")
    assert plan.way == "code" and plan._plan.instruction_set == instruction_set
    assert same_on_threads(args, plan, out)


@pytest.mark.parametrize("rate", [1, 2, 5])
def test_any_number_of_spikes_of_a_neuron(instruction_set, rate):
    args = layer(rate, torch.int16, (6, 6), (3, 3), 64, 32, 16, rate=rate)
    args[0][0][0, 0] = -1
    args[0][0][0, 1] = 0
    assert same(args, *plan_of(args, "code"))


@given(
    st.integers(0, 2**16), st.sampled_from([torch.int16, torch.int32]), st.integers(1, 9), st.integers(1, 9),
    st.integers(1, 140), st.integers(1, 70), st.integers(1, 32), st.integers(1, 3), st.integers(1, 4),
)  # fmt: skip
def test_any_convolution(seed, dtype, height, width, channels, outputs, T, stride, rate):
    args = layer(seed, dtype, (height, width), (3, 3), channels, outputs, T, stride=stride, rate=rate)
    assert same(args, *plan_of(args, "code"))


def test_steps_may_change_from_call_to_call():
    """Code for other numbers of steps follows in the same memory; what was left there of a longer run is not run."""
    plans = {T: layer(3, torch.int16, (4, 4), (3, 3), 40, 40, T) for T in (32, 1, 16, 5, 17, 2)}
    for _ in range(2):
        for args in plans.values():
            assert same(args, *plan_of(args, "code"))


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
    made = [(args, *plan_of(args, "code")) for args in layers]

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
    plan, shape = plan_of(both, "code")
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
from fastsnn import _native
from fastsnn.ops._plan import Plan
words = torch.full((1, 8, 8, 40), 0x5a5a, dtype=torch.int64).to(torch.uint16)
weight = torch.full((40, 40, 3, 3), 7, dtype=torch.int16)
theta = torch.tensor(4000, dtype=torch.int16)
args = ([(8, 8, 40)], [weight], (1, 8, 8, 40), theta, theta // 2, None, [1, 1], [1, 1], [1, 1], [1], "soft", ">=")
lists, code = Plan(*args, 0, "lists"), Plan(*args, 0, "code")
assert code.way == "lists", code.way
_native.load().select_instruction_set(next(name for name in _native.load().instruction_sets() if name != "amx"))
assert Plan(*args).way == "streams"
assert all(torch.equal(a, b) for a, b in zip(lists([words], 16), code([words], 16)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to refuse memory that is written and executed")
def test_where_memory_that_is_written_cannot_be_executed_layers_run_another_way():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(REFUSED)], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel can't be asked to refuse such memory")
    assert done.returncode == 0, done.stderr
