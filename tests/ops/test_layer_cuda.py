"""A layer's CUDA kernel against the definition: every way to share it out, window, layout and width, bit for bit."""

import pytest
import torch
from graded import ALL, GAINS, rules
from layers import BF16, F16, F32, I8, I16, I32, VALUES, check, convolution, identity, joined, moved, shape_of, wanted

from fastsnn import _cuda, _env, _gpu
from fastsnn.ops import _neurons_cuda
from fastsnn.ops._events_cuda import Split
from fastsnn.ops._layer_cuda import WAYS, CudaPlan
from fastsnn.ops._products_cuda import Products
from fastsnn.ops._three import sizes
from fastsnn.spikes import word_dtype
from fastsnn.testing import emulator

pytestmark = pytest.mark.skipif(_cuda.reason() is not None, reason=str(_cuda.reason()))

F64, I64 = torch.float64, torch.int64
EVERY = (I8, I16, I32, F16, BF16, F32, F64)
SHARED = Split(1, 4)


@pytest.fixture(autouse=True)
def able(device):
    if device == "cpu" and _cuda.EMULATOR is None:
        pytest.skip("kernels run on the GPU here: they are not emulated")


@pytest.fixture
def g():
    return torch.Generator().manual_seed(7)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_env, "CACHE", str(tmp_path / "measured"))


def plan_of(layer, device, way=None, **more):
    given = {name: moved(layer[name], device) for name in layer if name not in ("words", "T")}
    inputs = [w.shape[1:] for w in layer["words"]]
    return CudaPlan(inputs, shape=shape_of(layer), way=way, **given, **more)


def agrees(layer, device, **more):
    """The plan gives what the definition does, by events, by events that share sums, and as products; returns it."""
    plan, words, want = plan_of(layer, device, **more), moved(layer["words"], device), wanted(layer)
    for way in (Split(2 if plan.sums.itemsize < 8 else 1, 1), SHARED, *[Products()] * plan.products):
        plan.choose(way)
        check(plan(words, layer["T"]), want, layer["T"])
    plan.choose(None)
    check(plan(words, layer["T"]), want, layer["T"])
    return plan


# --- how the work is shared out


@pytest.mark.parametrize("dtype", [I8, I32, F64], ids=str)
@pytest.mark.parametrize("T", [5, 16, 20])
def test_every_way_to_share_out_the_work_gives_the_same(g, device, monkeypatch, dtype, T):
    monkeypatch.setattr(_gpu, "processors", lambda device: 132)
    layer = convolution(g, dtype, (70, 140) if dtype == I8 else (40, 75), size=(3, 2), T=T, batch=1)
    words, want = moved(layer["words"], device), wanted(layer)
    plan = plan_of(layer, device)
    found = plan.choices(1, T)
    # a thread has room for 256 bytes, and for 16 of a step
    most = min(256 // {5: 8, 16: 16, 20: 32}[T], 16) // plan.sums.itemsize
    every = {*found[1:], plan.usual(1, T)}
    splits = {Split(n, p) for n in (1, 2, 4) if n <= most for p in (1, 2, 4, 8)}
    assert found[0] is None and every == splits | ({Products()} if dtype != F64 else set())
    for way in found:
        plan.choose(way)
        check(plan(words, T), want, T)


def test_the_usual_way_gives_work_to_all_processors(g, device, monkeypatch):
    monkeypatch.setattr(_gpu, "processors", lambda device: 132)
    plan = plan_of(convolution(g, I8, (512, 512), size=(4, 4)), device)
    one, many = plan.usual(1, 16), plan.usual(256, 16)
    assert one.parts > 1 and plan._work(1, 16).tiles(one) >= 132 and many == Products()
    # without tensor cores, and where products would mostly be padding, by events
    plan.products = False
    assert plan.usual(256, 16) == Split(4, 1) and plan._work(256, 16).tiles(Split(4, 1)) >= 132
    assert isinstance(plan_of(convolution(g, I8, (16, 512), size=(4, 4)), device).usual(256, 16), Split)
    # a sum of few numbers is not worth sharing
    assert plan_of(convolution(g, I8, (3, 8), size=(1, 1), kernel=1, padding=0), device).usual(1, 16).parts == 1


def test_what_was_measured_is_taken_for_its_batch(g, device):
    layer = convolution(g, I8, (70, 20))
    plan = plan_of(layer, device)
    usual = plan.usual(2, 5)
    plan.remember(SHARED, 2, 5)
    for each in (plan, plan_of(layer, device)):
        assert each.way_for(2, 5) == SHARED and each.way_for(3, 5) == each.usual(3, 5)
    plan.remember(None, 2, 5)
    assert plan.way_for(2, 5) == usual
    WAYS.path(torch.device(device)).write_text('{"a": [3, 1]}')
    WAYS.forget()
    assert WAYS.all(torch.device(device)) == {}
    plan.remember(Products(), 2, 5)
    WAYS.forget()
    assert plan_of(layer, device).way_for(2, 5) == Products()
    plan.choose(SHARED)
    assert plan.way_for(9, 9) == SHARED and plan.label == "CUDA, events, 1 outputs a lane, 4 warps a position"


@pytest.mark.skipif(torch.cuda.is_available(), reason="threads of a GPU have no order")
@pytest.mark.parametrize("way", [Split(1, 1), Split(2, 4), Split(4, 8), Products()], ids=str)
def test_the_order_of_threads_does_not_matter(g, way):
    layer = convolution(g, I8, (70, 140), size=(3, 2), T=9, batch=1)
    layer = joined(layer, identity(layer))
    with emulator.emulating(reverse=True):
        check(plan_of(layer, "cpu", way)(layer["words"], 9), wanted(layer), 9)


@pytest.mark.parametrize("way", [Split(2, 4), Products()], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_blocks_that_take_several_tiles(g, device, monkeypatch, way, reverse):
    """As where there are more than a grid may have: what is in shared memory must not be written over too soon."""
    monkeypatch.setattr(_cuda, "MOST_BLOCKS", 2)
    layer = convolution(g, I8, (70, 140), size=(5, 4), T=12)
    layer = joined(layer, identity(layer))
    with emulator.emulating(reverse):
        check(plan_of(layer, device, way)(moved(layer["words"], device), 12), wanted(layer), 12)


# --- inputs


@pytest.mark.parametrize("dtype", EVERY, ids=str)
def test_every_type_of_weights(g, device, dtype):
    layer = convolution(g, dtype, (37, 20))
    plan = agrees(joined(layer, identity(layer)), device)
    assert plan.operand == dtype and plan.products == (dtype not in (F32, F64))


@pytest.mark.parametrize("window, size, stride, padding", [(2, (6, 8), 2, 2), (3, (9, 6), 3, 0), (2, (9,), 1, 3)])
def test_a_pool_in_front_shares_its_weights(g, device, window, size, stride, padding):
    small = convolution(g, I8, (12, 20), size, kernel=2, batch=1)["weights"][0]
    layer = convolution(g, I8, (12, 20), size, kernel=2 * window, batch=1, stride=stride, padding=padding)
    for d in range(len(size)):
        small = small.repeat_interleave(window, 2 + d)
    layer["weights"] = [small.contiguous()]
    plan = agrees(layer, device)
    assert plan._event_weights[0].shape == (1, 2 ** len(size), 12, 20)
    assert plan._product_weights[0].shape == (1, 1, 20, 2 ** len(size), 64)
    assert plan._windows[-3:] == sizes([window] * len(size))
    assert agrees(layer, device, proven=False)._event_weights[0].shape[1] == (2 * window) ** len(size)


def test_identity_and_projection_together(g, device):
    layer = convolution(g, I8, (12, 20), size=(5, 5), stride=2)
    projection = convolution(g, I8, (7, 20), size=(5, 5), kernel=1, stride=2, padding=0)
    plan = agrees(joined(layer, projection, identity(layer)), device)
    assert len(plan.events) == 2 and len(plan.looks) == 1
    # an identity with weights of 32 bits beside others of 8
    wide = joined(layer, projection, identity(layer))
    wide["weights"][2] = wide["weights"][2].to(I32) * 1000
    assert agrees(wide, device).operand == I8


@pytest.mark.parametrize("dtype", [I8, F16], ids=str)
def test_inputs_of_different_groups(g, device, dtype):
    plan = agrees(joined(convolution(g, dtype, (12, 20), groups=4), convolution(g, dtype, (6, 20), groups=2)), device)
    assert plan.groups == 1
    plan = agrees(convolution(g, dtype, (12, 21), groups=3), device)
    assert plan.groups == 3


@pytest.mark.parametrize("kernel, channels", [(3, (7, 21)), (8, (5, 10))])
def test_depthwise_kernels_of_any_size_are_looked_at(g, device, kernel, channels):
    size = (8, 9) if kernel == 8 else (4, 3)
    layer = convolution(g, I16, channels, size, kernel=kernel, groups=channels[0], padding=kernel // 3, T=9, batch=1)
    layer["threshold"] = layer["threshold"] // 2
    plan = agrees(layer, device)
    assert not plan.events and len(plan.looks) == 1 and not plan.products and plan.choices(1, 9)[0] is None


@pytest.mark.parametrize("size", [(), (9,), (3, 3, 4)])
def test_dimensions(g, device, size):
    layer = convolution(g, I8, (70, 10), size, kernel=2, batch=3)
    agrees(joined(layer, convolution(g, I8, (33, 10), size, kernel=2, batch=3)), device)


@pytest.mark.parametrize("stride, padding, dilation", [(2, 0, 1), (3, 2, 1), (1, 2, 2), (2, 3, 3)])
def test_windows(g, device, stride, padding, dilation):
    layer = convolution(g, I8, (5, 6), (9, 8), batch=1, stride=stride, padding=padding)
    agrees(layer | {"dilation": [dilation] * 2}, device)


def test_32_inputs_and_no_more(g, device):
    layer = convolution(g, I8, (3, 5), kernel=1, padding=0)
    layer = joined(layer, *[convolution(g, I8, (2, 5), kernel=1, padding=0) for _ in range(30)], identity(layer))
    agrees(layer, device)
    with pytest.raises(ValueError, match="up to 32 inputs, got 33"):
        plan_of(joined(layer, identity(layer)), device)


# --- widths of numbers


@pytest.mark.parametrize("proven", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_beyond_32_bits_saturate(g, device, sign, proven):
    layer = convolution(g, I32, (9, 20), T=9)
    layer["weights"] = [sign * torch.randint(2**30 - 9, 2**31 - 1, (20, 9, 3, 3), generator=g).int()]
    layer["weights"][0][::2] *= -1
    layer["threshold"] = torch.tensor(2**24, dtype=I32)
    plan = agrees(layer, device, proven=proven)
    assert plan.sums == I64 and not plan.products
    agrees(joined(layer, identity(layer, 2**31 - 1)), device, proven=proven)


@pytest.mark.parametrize(
    "values, planes",
    [([127, -128], 1), ([128, -128], 2), ([32639, -32896], 2), ([32640, -5], 3), ([2**23, 1], 4), ([2**29, -3], 4)],
    ids=str,
)
def test_products_are_exact_at_the_borders_of_their_planes(g, device, values, planes):
    layer = convolution(g, I32, (70, 20), size=(), T=8, batch=4)
    layer["weights"] = [torch.tensor(values)[torch.randint(0, 2, (20, 70), generator=g)].int()]
    layer["weights"][0][0, :2] = torch.tensor(values)
    if max(values) > 2**20:
        # one spike at a time
        layer["weights"][0][:, 3:], layer["words"][0][:, :3] = 0, torch.tensor([1, 2, 4], dtype=torch.uint8)
    layer["threshold"] = torch.tensor(max(abs(values[0]) // 2, 2), dtype=I32)
    plan = agrees(layer, device)
    assert plan.products and plan.planes == planes


def test_sums_are_wide_only_where_they_may_have_to_be(g, device):
    layer = convolution(g, I32)
    assert plan_of(layer, device).sums == I32 and plan_of(layer, device, proven=False).sums == I64
    # weights of 8 bits cannot leave 32 bits, whatever they are; with a bias they can
    assert plan_of(convolution(g, I8), device, proven=False).sums == I32
    bias = torch.full((20,), 2**31 - 1, dtype=I32)
    bias[::2] = -3
    assert agrees(convolution(g, I8) | {"bias": bias}, device).sums == I64


def test_sums_of_16_bits_wrap(g, device):
    layer = convolution(g, I16, (12, 20))
    layer["weights"] = [torch.randint(-(2**15), 2**15, (20, 12, 3, 3), generator=g).to(I16)]
    layer["threshold"] = torch.tensor(2**12, dtype=I16)
    agrees(layer, device)


def test_weights_of_different_types_become_those_of_the_values(g, device):
    other = convolution(g, F32, (6, 20))
    # not a number that float16 holds
    other["weights"] = [other["weights"][0] * (1 + 2**-12)]
    assert agrees(joined(convolution(g, F16, (12, 20)), other), device).operand == F32
    mixed = joined(convolution(g, I8, (12, 20)), convolution(g, I32, (6, 20)))
    assert agrees(mixed, device).operand == I32


def test_float16_weights_are_opened_exactly(g, device):
    """The smallest and the largest numbers, subnormal ones and both zeros."""
    special = [2.0**-24, -(2.0**-24), 2.0**-15, -1023 * 2.0**-24, 65504.0, -65504.0, 0.0, -0.0, 1 + 2.0**-10]
    layer = convolution(g, F16, (1, 9), size=(), T=1, batch=1)
    layer["weights"], layer["words"] = [torch.tensor(special).half()[:, None]], [torch.ones(1, 1, dtype=torch.uint8)]
    layer |= {"v": torch.tensor(0.0), "threshold": torch.tensor(1e6)}
    _, v = plan_of(layer, device)(moved(layer["words"], device), 1)
    assert torch.equal(v.cpu()[0], torch.tensor(special))


# --- layouts, biases and potentials


def test_channels_of_words_may_be_followed_by_unused_ones(g, device):
    """Words in and out with room for 16 channels of which 12 and 5 exist: the rest is neither read nor written."""
    layer = convolution(g, I8, (12, 5), T=12)
    layer = joined(layer, identity(layer))
    read = []
    for words in layer["words"]:
        room = torch.full((*words.shape[:-1], 16), -1, dtype=words.dtype)
        room[..., : words.shape[-1]] = words
        read.append(room.to(device)[..., : words.shape[-1]])
    room = torch.full((*shape_of(layer)[:-1], 16), 77, dtype=word_dtype(12), device=device)
    for way in (Split(4, 1), SHARED, Products()):
        got = plan_of(layer, device, way)(read, 12, out=room[..., :5])
        check(got, wanted(layer), 12)
        assert got[0].data_ptr() == room.data_ptr() and (room[..., 5:] == 77).all()


def test_memory_that_begins_anywhere(g, device):
    """Words that begin at odd places, and neurons whose number no lane's divides."""
    layer = convolution(g, I8, (12, 18), T=8)
    words = layer["words"][0]
    room = torch.zeros(words.numel() + 1, dtype=words.dtype)
    room[1:] = words.flatten()
    odd = room.to(device)[1:].view(words.shape)
    out = torch.zeros(wanted(layer)[0].numel() + 1, dtype=torch.uint8, device=device)[1:].view(shape_of(layer))
    for way in (Split(4, 1), Products()):
        check(plan_of(layer, device, way)([odd], 8, out=out), wanted(layer), 8)


@pytest.mark.parametrize("way", [Split(1, 1), SHARED, Products()], ids=str)
@pytest.mark.parametrize("varies", [True, False])
@pytest.mark.parametrize("over", ["neurons", "steps", "steps, channels", "steps, positions", "one step"])
def test_a_bias_of_the_call_takes_the_place_of_the_plans(g, device, way, over, varies):
    layer = convolution(g, I8)
    plan = plan_of(layer | {"bias": torch.tensor(100, dtype=I32)}, device, way, bias_varies=varies)
    batch, *sizes, channels = shape_of(layer)
    ones = [1] * len(sizes)
    size = {
        "neurons": (batch, *sizes, channels),
        "steps": (5, batch, *sizes, channels),
        "steps, channels": (5, 1, *ones, channels),
        "steps, positions": (5, 1, *sizes, channels),
        "one step": (1, 1, *ones, channels),
    }[over]
    bias = torch.randint(-5, 6, size, generator=g, dtype=I32)
    check(plan(moved(layer["words"], device), 5, bias=bias.to(device)), wanted(layer | {"bias": bias}), 5)


@pytest.mark.parametrize("dtype", [I8, F16, I16], ids=str)
def test_two_runs_that_carry_potentials_are_one_run(g, device, dtype):
    layer = convolution(g, dtype, T=12)
    plan, want = plan_of(layer, device), wanted(layer)
    first, second = (layer["words"][0] >> start & 2**T - 1 for start, T in ((0, 8), (8, 4)))
    out, v = plan([first.to(torch.uint8).to(device)], 8)
    more, v = plan([second.to(torch.uint8).to(device)], 4, v)
    check((out.cpu().to(I16) | more.cpu().to(I16) << 8, v), want, 12)
    assert plan(moved(layer["words"], device), 12, keep=False)[1] is None


@pytest.mark.parametrize("T", [1, 3, 8, 9, 20, 32])
def test_numbers_of_steps_and_bits_beyond_them(g, device, T):
    layer = convolution(g, I8, T=T, batch=1)
    layer["words"][0][0, 0] = -1 if T > 8 else 255
    want = wanted(layer)
    for dtype in (I16, I32) if T <= 8 else ():
        check(plan_of(layer, device)([layer["words"][0].to(dtype).to(device)], T), want, T)
    agrees(layer, device)


@pytest.mark.parametrize("reset, comparator", [("soft", ">="), ("soft", ">"), ("hard", ">="), ("hard", ">")])
def test_thresholds_and_potentials_of_each_neuron_and_the_rules(g, device, reset, comparator):
    layer = convolution(g, I8, reset=reset, comparator=comparator)
    *image, _ = shape_of(layer)[1:]
    layer["threshold"] = torch.randint(4, 12, (*image, 20), generator=g, dtype=I32)
    layer["v"] = torch.randint(0, 5, shape_of(layer), generator=g, dtype=I32)
    layer["bias"] = torch.randint(-2, 3, (5, 1, 1, 1, 20), generator=g, dtype=I32)
    agrees(layer, device)


def test_images_do_not_depend_on_their_batch(g, device):
    layer = convolution(g, F32, (40, 20), batch=3)
    layer["weights"] = [torch.randn(20, 40, 3, 3, generator=g)]
    plan, words = plan_of(layer, device, SHARED), layer["words"][0].to(device)
    out, v = plan([words], 5)
    for i in range(3):
        alone = plan([words[i : i + 1]], 5)
        assert torch.equal(alone[0][0], out[i]) and torch.equal(alone[1][0], v[i])


def test_no_images(g, device):
    layer = convolution(g, I8)
    out, v = plan_of(layer, device)([layer["words"][0][:0].to(device)], 5)
    assert out.shape == v.shape == (0, 4, 3, 20) and out.dtype == torch.uint8 and v.dtype == I32


def test_values_are_those_of_the_weights(g, device):
    for dtype in EVERY:
        plan = plan_of(convolution(g, dtype), device)
        assert plan.dtype == VALUES.get(dtype, dtype)


# --- neurons that emit more than a spike


def graded(g, dtype, name, *, channels=(12, 20), **more):
    """A layer as of `convolution` whose potentials get to the planes of a neuron."""
    reset, comparator = rules(name)
    layer = convolution(g, dtype, channels, reset=reset, comparator=comparator, **more)
    layer["threshold"] = layer["threshold"] * 2 // 9 if dtype not in (F16, BF16, F32, F64) else layer["threshold"] / 4
    return layer


# 16 bits have no gains, and with one floating-point sums depend on their order
@pytest.mark.parametrize("name, dtype", [(n, d) for n in ALL for d in ((I8, I32) if n in GAINS else EVERY)])
def test_graded_neurons_run_every_way(g, device, name, dtype):
    layer = graded(g, dtype, name, T=9, channels=(37, 20))
    plan = agrees(joined(layer, identity(layer)), device)
    assert plan.products == (dtype not in (F32, F64)) and not plan.firing.plain


@pytest.mark.parametrize("name, dtype", [("by-step", F32), ("by-step", I8), ("differential", I32)])
@pytest.mark.parametrize("way", [Split(1, 1), SHARED], ids=str)
def test_graded_runs_that_carry_states_are_one_run(g, device, name, dtype, way):
    layer = graded(g, dtype, name, T=12)
    if dtype == F32:
        layer["v"] = torch.randint(0, 5, shape_of(layer), generator=g) / 8
    plan, want = plan_of(layer, device, way), wanted(layer)
    first, second = (layer["words"][0] >> start & 2**T - 1 for start, T in ((0, 8), (8, 4)))
    # counts begin at 0 with potentials that spread, given to the call as to the plan
    out, v = plan([first.to(torch.uint8).to(device)], 8, layer["v"].to(device))
    more, v = plan([second.to(torch.uint8).to(device)], 4, v, first=8)
    check((out.cpu().to(I16) | more.cpu().to(I16) << 8, v), want, 12)
    assert plan(moved(layer["words"], device), 12, keep=False)[1] is None
    # a plan may begin with a state
    begun = layer | {"v": v, "reset": rules(name, 8)[0], "words": [second.to(torch.uint8)], "T": 4}
    check(plan_of(begun, device, way)(moved(begun["words"], device), 4), wanted(moved(begun, "cpu")), 4)


@pytest.mark.parametrize("way", [Split(4, 1), SHARED, Products()], ids=str)
def test_planes_of_words_may_lie_apart(g, device, way):
    """With room for 16 channels of which 5 exist, and for one more image: the rest is not written."""
    layer = graded(g, I8, "signed", channels=(12, 5), T=12)
    want, (batch, *sizes, _) = wanted(layer), shape_of(layer)
    room = torch.full((2, batch + 1, *sizes, 16), 77, dtype=torch.int16, device=device)
    out = room[:, :batch, ..., :5]
    got = plan_of(layer, device, way)(moved(layer["words"], device), 12, out=out)
    check(got, want, 12)
    assert got[0].data_ptr() == room.data_ptr()
    assert (room[..., 5:] == 77).all() and (room[:, batch] == 77).all()


def test_planes_of_neurons_without_weights_may_lie_apart(g, device):
    currents = torch.randint(-3, 5, (9, 3, 5), generator=g, dtype=I32)
    one = torch.ones((), dtype=I32)
    room = torch.full((2, 4, 16), 77, dtype=torch.int16, device=device)
    given = (currents.to(device), False, one.to(device), one.to(device), None, 9, *rules("signed"))
    want = _neurons_cuda.run(*given)
    got = _neurons_cuda.run(*given, keep=False, out=room[:, :3, :5])
    assert torch.equal(got[0], want[0]) and want[0].any() and got[1] is None
    assert (room[..., 5:] == 77).all() and (room[:, 3] == 77).all()


@pytest.mark.parametrize("dtype, threshold", [(I16, 2**12), (I32, 2**29)])
def test_planes_beyond_the_numbers_range_do_not_fire(g, device, dtype, threshold):
    layer = graded(g, dtype, "bits", T=12)
    layer["weights"] = [layer["weights"][0] * (threshold // 16)]
    layer["threshold"] = torch.tensor(threshold, dtype=dtype)
    words, _ = wanted(layer)
    assert not words[0].any() and words[-1].any()
    agrees(layer, device)
