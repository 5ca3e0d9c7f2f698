"""A layer's GPU kernels against the definition: every split, tile, window, layout and width of numbers, bit for bit."""

import pytest
import torch
from graded import ALL
from layers import BF16, F16, F32, I8, I16, I32, VALUES, check, convolution, identity, joined, moved, shape_of, wanted

from fastsnn import _env, _triton
from fastsnn.firing import Firing, Plane
from fastsnn.ops._three import sizes
from fastsnn.spikes import word_dtype

pytestmark = pytest.mark.skipif(_triton.reason() is not None, reason=str(_triton.reason()))

if _triton.reason() is None:
    from fastsnn.ops._inputs import MOST_LOOKS
    from fastsnn.ops._layer_triton import TritonPlan
    from fastsnn.ops._tiles import Tile

# a few tiles of the layers here: more take the interpreter long
TILE = (128, 32, 64, 4)
SPLIT = (*TILE, 3, 2)


@pytest.fixture(autouse=True)
def able(device):
    if device == "cpu" and not _env.TRITON_INTERPRET:
        pytest.skip("kernels run on the GPU here: they are not interpreted")


@pytest.fixture
def g():
    return torch.Generator().manual_seed(7)


def plan_of(layer, device, tile=None, **more):
    given = {name: moved(layer[name], device) for name in layer if name not in ("words", "T")}
    inputs = [w.shape[1:] for w in layer["words"]]
    return TritonPlan(inputs, shape=shape_of(layer), tile=Tile(*tile) if tile else None, **given, **more)


def agrees(layer, device, tile=TILE, **more):
    """The plan gives what the definition does; returns the plan."""
    plan = plan_of(layer, device, tile, **more)
    check(plan(moved(layer["words"], device), layer["T"]), wanted(layer), layer["T"])
    return plan


# --- tiles and parts of sums


@pytest.mark.parametrize("dtype", [I8, F16], ids=str)
@pytest.mark.parametrize("inputs", [32, 20])
@pytest.mark.parametrize("parts", [2, 4, 8])
def test_sums_in_parts(g, device, parts, inputs, dtype):
    """9 slices of 32 channels, or 6 of 20 channels: neither is a multiple of the parts."""
    layer = convolution(g, dtype, (inputs, 20), size=(3, 3), batch=1)
    agrees(layer, device, (128, 32, 32, 4, 3, parts))


@pytest.mark.parametrize("dtype", [I8, I16, BF16], ids=str)
def test_sums_in_parts_with_a_residual_and_a_bias_of_each_step(g, device, dtype):
    layer = convolution(g, dtype, (20, 20), size=(3, 3))
    unit = 1 / 8 if dtype.is_floating_point else 1
    layer["bias"] = (torch.randint(-2, 3, (5, 1, 1, 1, 20), generator=g) * unit).to(VALUES[dtype])
    agrees(joined(layer, identity(layer)), device, SPLIT)


@pytest.mark.parametrize("dtype", [F16, F32, I8], ids=str)
@pytest.mark.parametrize("tile", [(128, 32, 32, 4, 3, 8), (128, 32, 128, 4), (128, 32, 256, 4, 3, 2)], ids=str)
def test_what_lies_behind_the_weights_is_not_summed(g, device, tile, dtype):
    """The last row ends in the middle of a slice; memory behind the weights and their zeros may hold NaN."""
    layer = convolution(g, dtype, (20, 20), size=(3, 3))
    plan = plan_of(layer, device, tile)
    [product] = plan.products
    own = product.weight.untyped_storage().nbytes() // dtype.itemsize
    behind = float("nan") if dtype.is_floating_point else 127
    room = torch.full((own + 4096,), behind, dtype=dtype, device=device)
    room[:own] = product.weight.as_strided((own,), (1,))
    product.weight = room[: product.weight.numel()].view(product.weight.shape)
    check(plan(moved(layer["words"], device), 5), wanted(layer), 5)


@pytest.mark.parametrize("dtype", [I8, F16], ids=str)
def test_every_tile_that_is_worth_measuring_gives_the_same(g, device, dtype):
    layer = convolution(g, dtype, (64, 140), size=(3, 3), kernel=2, padding=0, T=4, batch=1)
    words, want = moved(layer["words"], device), wanted(layer)
    plan = plan_of(layer, device)
    found = plan.tiles(1, 4)
    assert len({(tile.rows, tile.N) for tile in found}) > 5
    for tile in found:
        plan.tile = tile
        check(plan(words, 4), want, 4)


# --- windows that a pooling adds up


@pytest.mark.parametrize("dtype", [I8, F16, BF16, F32, I16], ids=str)
@pytest.mark.parametrize("window, size, stride, padding", [(2, (6, 8), 2, 2), (3, (9, 6), 3, 0), (2, (9,), 1, 3)])
def test_a_pool_in_front_is_added_up_first(g, device, window, size, stride, padding, dtype):
    small = convolution(g, dtype, (12, 20), size, kernel=2, batch=1)["weights"][0]
    layer = convolution(g, dtype, (12, 20), size, kernel=2 * window, batch=1, stride=stride, padding=padding)
    for d in range(len(size)):
        small = small.repeat_interleave(window, 2 + d)
    layer["weights"] = [small.contiguous()]
    plan = agrees(layer, device)
    assert plan.pooled and plan.products[0].pooled == tuple(sizes([window] * len(size)))
    assert plan.products[0].length == 12 * 2 ** len(size)


def test_a_kernel_that_differs_in_one_repeated_tap_is_no_pool(g, device):
    layer = convolution(g, I8, (12, 20), (6, 6), kernel=2, batch=1, stride=2)
    weight = layer["weights"][0].repeat_interleave(2, 2).repeat_interleave(2, 3).contiguous()
    weight[19, 11, 3, 3] += 1
    plan = agrees(layer | {"weights": [weight]}, device)
    assert plan.products[0].pooled == (1, 1, 2) or not plan.pooled
    assert plan.products[0].length > 12 * 4


def test_a_pool_is_not_looked_for_where_the_weights_may_not_be_looked_at(g, device):
    layer = convolution(g, I8, (12, 20), (4, 4), kernel=2, batch=1)
    layer["weights"] = [torch.ones_like(layer["weights"][0])]
    assert plan_of(layer, device).pooled and not agrees(layer, device, proven=False).pooled


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
    for tile in (TILE, SPLIT):
        got = plan_of(layer, device, tile)(read, 12, out=room[..., :5])
        check(got, wanted(layer), 12)
        assert got[0].data_ptr() == room.data_ptr() and (room[..., 5:] == 77).all()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("varies", [True, False])
@pytest.mark.parametrize("over", ["neurons", "steps", "steps, channels", "steps, positions", "one step"])
def test_a_bias_of_the_call_takes_the_place_of_the_plans(g, device, parts, over, varies):
    layer = convolution(g, I8)
    plan = plan_of(layer | {"bias": torch.tensor(100, dtype=I32)}, device, (*TILE, 3, parts), bias_varies=varies)
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
    plan = plan_of(layer, device, TILE)
    want = wanted(layer)
    first, second = (layer["words"][0] >> start & 2**T - 1 for start, T in ((0, 8), (8, 4)))
    out, v = plan([first.to(torch.uint8).to(device)], 8)
    more, v = plan([second.to(torch.uint8).to(device)], 4, v)
    check((out.cpu().to(I16) | more.cpu().to(I16) << 8, v), want, 12)
    assert plan(moved(layer["words"], device), 12, keep=False)[1] is None


@pytest.mark.parametrize("T", [1, 3, 8, 9, 20, 32])
@pytest.mark.parametrize("dtype", [I8, F16], ids=str)
def test_numbers_of_steps(g, device, T, dtype):
    layer = convolution(g, dtype, T=T, batch=1)
    layer["words"][0][0, 0] = -1 if T > 8 else 255
    agrees(layer, device)


def test_words_wider_than_their_steps_need(g, device):
    layer = convolution(g, F16, T=5)
    want = wanted(layer)
    for dtype in (I16, I32):
        wide = [words.to(dtype).to(device) for words in layer["words"]]
        out, after = plan_of(layer, device, TILE)(wide, 5)
        check((out, after), want, 5)


@pytest.mark.parametrize("reset, comparator", [("soft", ">="), ("soft", ">"), ("hard", ">="), ("hard", ">")])
@pytest.mark.parametrize("parts", [1, 2])
def test_thresholds_and_potentials_of_each_neuron_and_the_rules(g, device, parts, reset, comparator):
    layer = convolution(g, I8, reset=reset, comparator=comparator)
    *image, _ = shape_of(layer)[1:]
    layer["threshold"] = torch.randint(4, 12, (*image, 20), generator=g, dtype=I32)
    layer["v"] = torch.randint(0, 5, shape_of(layer), generator=g, dtype=I32)
    layer["bias"] = torch.randint(-2, 3, (20,), generator=g, dtype=I32)
    agrees(layer, device, (*TILE, 3, parts))


# --- neurons with several planes, counts and gains


@pytest.mark.parametrize("proven", [True, False])
@pytest.mark.parametrize("tile", [TILE, SPLIT], ids=str)
@pytest.mark.parametrize("dtype", [I8, I16, F16], ids=str)
@pytest.mark.parametrize("name", ["leaky-hard", "above", "by-step", "rounded", "differential"])
def test_planes_counts_and_gains(g, device, name, dtype, tile, proven):
    """Words with room for 16 channels of which 5 exist, and for 3 images of which 2 do; the rest is not written."""
    neuron, values = ALL[name], VALUES[dtype]
    if neuron.firing.gains(9) and values == I16:
        pytest.skip("no gains in 16 bits")
    layer = convolution(g, dtype, (12, 5), T=9, reset=neuron.firing.code, comparator=neuron.comparator)
    shape, unit = shape_of(layer), 1 / 8 if values == F32 else 1
    layer["threshold"] = (torch.randint(2, 7, (5,), generator=g) * unit).to(values)
    layer["bias"] = (torch.randint(-2, 3, (9, 1, 1, 1, 5), generator=g) * unit).to(values)
    want = wanted(layer)
    room = torch.full(neuron.firing.words_of((3, *shape[1:-1], 16)), 77, dtype=I16, device=device)
    out = room[..., :2, :, :, :5]
    got = plan_of(layer, device, tile, proven=proven)(moved(layer["words"], device), 9, out=out)
    check(got, want, 9)
    assert got[0].data_ptr() == room.data_ptr()
    out.fill_(77)
    assert (room == 77).all()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("name", ["by-step", "differential"])
def test_runs_with_counts_go_on_from_them_or_begin_with_potentials(g, device, name, parts):
    neuron = ALL[name]
    layer = convolution(g, I8, T=12, reset=neuron.firing.code, comparator=neuron.comparator)
    layer["threshold"] = torch.tensor(3, dtype=I32)
    plan, want = plan_of(layer, device, (*TILE, 3, parts)), wanted(layer)
    first, second = (layer["words"][0] >> start & 2**T - 1 for start, T in ((0, 8), (8, 4)))
    out, v = plan([first.to(torch.uint8).to(device)], 8, layer["v"].to(device))
    assert v.shape == (2, *shape_of(layer)) and v[1].any()
    more, v = plan([second.to(torch.uint8).to(device)], 4, v, first=8)
    check((out.cpu().to(I16) | more.cpu().to(I16) << 8, v), want, 12)


@pytest.mark.parametrize("threshold, wide", [(2**21 - 1, False), (2**21, True), (2**31 - 1, True), (-3, True)])
def test_potentials_that_leave_32_bits_within_a_step(g, device, threshold, wide):
    """A plane takes far more than the potential, and the next gives it back."""
    planes = (Plane(1024, 0), Plane(-1024, 1), Plane(1, 3))
    layer = convolution(g, I32, reset=Firing(planes=planes).code)
    layer["weights"][0] *= 2**20
    layer["threshold"] = torch.tensor(threshold, dtype=I32)
    plan = agrees(layer, device)
    assert plan.wide_step == wide
    assert agrees(layer, device, proven=False).wide_step


def test_tiles_are_measured_for_each_kind_of_neuron(g, device):
    by_step = ALL["by-step"].firing
    plans = [plan_of(convolution(g, I8, reset=code), device) for code in ("soft", by_step.code, by_step.at(5).code)]
    plain, begun, later = (plan._key(plan.problem(2, 5)) for plan in plans)
    assert plain != begun == later


# --- several inputs and groups


def test_identity_and_projection_together(g, device):
    layer = convolution(g, I8, (12, 20), size=(5, 5), stride=2)
    projection = convolution(g, I8, (7, 20), size=(5, 5), kernel=1, stride=2, padding=0)
    plan = agrees(joined(layer, projection, identity(layer)), device)
    assert len(plan.products) == 2 and len(plan.looks) == 1


@pytest.mark.parametrize("dtype", [I8, F16], ids=str)
def test_products_of_different_groups_become_ordinary_ones(g, device, dtype):
    layer = convolution(g, dtype, (12, 20), groups=4)
    other = convolution(g, dtype, (6, 20), groups=2)
    plan = agrees(joined(layer, other), device)
    assert plan.groups == 1
    assert [p.length for p in plan.products] == [12 * 9, 6 * 9]


def test_grouped_convolutions_stay_grouped(g, device):
    layer = convolution(g, I8, (12, 21), groups=3)
    plan = agrees(layer, device)
    assert plan.groups == 3 and plan.products[0].length == 4 * 9


@pytest.mark.parametrize("dtype", [I8, I16, I32, F16, F32], ids=str)
def test_depthwise_with_several_outputs_a_channel(g, device, dtype):
    layer = convolution(g, dtype, (7, 21), groups=7)
    layer["threshold"] = layer["threshold"] // 2 if not dtype.is_floating_point else layer["threshold"] / 2
    plan = agrees(layer, device)
    assert not plan.products and len(plan.looks) == 9
    assert plan.label == "words" and plan.tiles(2, 9) == ()


def test_a_depthwise_kernel_of_many_taps_is_a_product(g, device):
    layer = convolution(g, I8, (5, 10), size=(8, 9), kernel=8, groups=5, padding=0, T=3, batch=1)
    assert 8 * 8 > MOST_LOOKS
    plan = agrees(layer, device)
    assert not plan.looks and plan.groups == 5


def test_linear_layers(g, device):
    """Of two inputs; with the tile for the shape as well."""
    layer = joined(*(convolution(g, F16, (inputs, 20), size=(), batch=3) for inputs in (70, 33)))
    plan = agrees(layer, device, None)
    assert plan.label == "float16 x 1, tiles by shape"
    plan = agrees(layer, device, (32, 32, 16, 4, 3, 4))
    assert plan.label == "float16 x 1, tiles 32x32x16 in 3 stages, sum in 4 parts"


@pytest.mark.parametrize("size", [(9,), (3, 3, 4)])
def test_one_and_three_dimensions(g, device, size):
    agrees(convolution(g, I8, (6, 10), size, kernel=2), device)


# --- widths of numbers

BORDERS = [
    ([127, -128], 1), ([128, -128], 2), ([127, -129], 2), ([32639, -32896], 2), ([32640, -5], 3), ([5, -32897], 3),
    ([2**23 - 2**15 - 2**7 - 1, -(2**23)], 3), ([2**23, 1], 4), ([2**31 - 1, -3], 4),
]  # fmt: skip


@pytest.mark.parametrize("values, planes", BORDERS, ids=str)
@pytest.mark.parametrize("proven", [True, False])
def test_fixed_point_is_exact_at_the_borders_of_its_planes(g, device, values, planes, proven):
    """Weights of [20, 3] that hold the two values; one spike at a time where sums of more would saturate."""
    layer = convolution(g, I32, (3, 20), size=(), T=8, batch=4)
    layer["weights"] = [torch.tensor(values)[torch.randint(0, 2, (20, 3), generator=g)].int()]
    layer["weights"][0][0, :2] = torch.tensor(values)
    if max(map(abs, values)) > 2**26:
        layer["words"] = [torch.tensor([[1, 2, 4], [8, 0, 16], [0, 32, 0], [64, 0, 128]], dtype=torch.uint8)]
    layer["threshold"] = torch.tensor(max(abs(values[0]) // 2, 2), dtype=I32)
    plan = agrees(layer, device, proven=proven)
    # where sums may leave 32 bits, or nobody looked, there is one plane more
    wide = not proven or int(layer["weights"][0].long().abs().sum(1).max()) >= 2**31 - 1
    assert plan.wide == wide and plan.planes == (5 if wide and (planes > 1 or not proven) else planes)


@pytest.mark.parametrize("proven", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_beyond_32_bits_saturate(g, device, sign, proven):
    layer = convolution(g, I32, (9, 20), T=9)
    layer["weights"] = [sign * torch.randint(2**30 - 9, 2**31 - 1, (20, 9, 3, 3), generator=g).int()]
    layer["weights"][0][::2] *= -1
    layer["threshold"] = torch.tensor(2**24, dtype=I32)
    plan = agrees(layer, device, proven=proven)
    assert plan.wide and plan.planes == 5 and plan.problem(2, 5).whole


def test_weights_of_8_bits_with_biases_that_leave_32_bits_together_with_them(g, device):
    layer = convolution(g, I8)
    layer["bias"] = torch.full((20,), 2**31 - 1, dtype=I32)
    layer["bias"][::2] = -3
    plan = agrees(layer, device)
    assert plan.wide and plan.planes == 1
    agrees(layer, device, SPLIT)


def test_sums_of_16_bits_wrap(g, device):
    layer = convolution(g, I16, (12, 20))
    layer["weights"] = [torch.randint(-(2**15), 2**15, (20, 12, 3, 3), generator=g).to(I16)]
    layer["threshold"] = torch.tensor(2**12, dtype=I16)
    plan = agrees(layer, device)
    assert plan.planes == 2 and not plan.wide
    agrees(layer, device, SPLIT)


def test_weights_of_different_floating_types(g, device):
    layer = convolution(g, F16, (12, 20))
    other = convolution(g, F32, (6, 20))
    # not a number that float16 holds
    other["weights"] = [other["weights"][0] * (1 + 2**-12)]
    plan = agrees(joined(layer, other), device)
    assert plan.operand == F32


# --- batches


@pytest.mark.parametrize("dtype", [I8, F16], ids=str)
def test_images_do_not_depend_on_their_batch(g, device, dtype):
    layer = convolution(g, dtype, batch=3)
    plan, want = plan_of(layer, device, TILE), wanted(layer)
    words = layer["words"][0].to(device)
    check(plan([words], 5), want, 5)
    for i in range(3):
        check(plan([words[i : i + 1]], 5), (want[0][i : i + 1], want[1][i : i + 1]), 5)


def test_random_weights_give_the_same_bits_in_any_batch(g, device):
    """Float32 sums depend on their order, which is that of one image alone."""
    if device == "cpu":
        pytest.skip("interpreted products are numpy's, whose order depends on a row's place")
    layer = convolution(g, F32, (12, 20), batch=3)
    layer["weights"] = [torch.randn(20, 12, 3, 3, generator=g)]
    plan, words = plan_of(layer, device, TILE), layer["words"][0].to(device)
    out, v = plan([words], 5)
    for i in range(3):
        alone = plan([words[i : i + 1]], 5)
        assert torch.equal(alone[0][0], out[i]) and torch.equal(alone[1][0], v[i])


def test_no_images(g, device):
    layer = convolution(g, I8)
    out, v = plan_of(layer, device)([layer["words"][0][:0].to(device)], 5)
    assert out.shape == v.shape == (0, 4, 3, 20) and out.dtype == torch.uint8 and v.dtype == I32


@pytest.mark.parametrize("channels", [1, 17, 33, 70, 96])
def test_channels_that_are_no_multiple_of_a_slice(g, device, channels):
    layer = convolution(g, I8, (channels, 17), size=(3, 3), batch=1)
    for K in (32, 64):
        agrees(layer, device, (128, 32, K, 4))
