"""The exact first layer of the native module, and images as it reads them: the definition, on every instruction set."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sets import SETS, tiles, using
from sums import MOST, summed

from fastsnn import _native
from fastsnn.ops import _fixed
from fastsnn.ops._fixed import FixedConvolution
from fastsnn.ops._image import image
from fastsnn.program import ConvTerm
from fastsnn.program.axes import channels_last
from fastsnn.program.fixed import fixed_input

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))

LIMIT = MOST - 1


@pytest.fixture(params=SETS)
def chosen(request):
    with using(request.param):
        yield


@pytest.fixture(params=[name for name in SETS if name in ("amx", "avx512vbmi2")])
def multiplying(request):
    with using(request.param):
        yield


sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.mark.parametrize("name", SETS)
@given(
    data=st.data(),
    width=st.integers(1, 21),
    channels=st.integers(1, 3),
    outputs=st.sampled_from([1, 5, 16, 17, 35]),
    kernel=sizes,
    stride=sizes,
    dilation=sizes,
    groups=st.integers(1, 2),
    shift=st.sampled_from([-3, 0, 1, 11, 40]),
    bias=st.sampled_from(["one", "channel", "position"]),
)
def test_it_is_exact(name, data, width, channels, outputs, kernel, stride, dilation, groups, shift, bias):
    check(name, data, width, channels, outputs, kernel, stride, dilation, groups, shift, bias)


@pytest.mark.parametrize("name", SETS)
@given(
    data=st.data(),
    width=st.integers(1, 9),
    kernel=sizes,
    stride=sizes,
    dilation=sizes,
    groups=st.sampled_from([2, 3, 16, 17, 40]),
    shift=st.sampled_from([-3, 0, 11]),
    bias=st.sampled_from(["one", "channel", "position"]),
)
def test_an_output_a_channel_is_exact(name, data, width, kernel, stride, dilation, groups, shift, bias):
    check(name, data, width, 1, 1, kernel, stride, dilation, groups, shift, bias)


@pytest.mark.parametrize("name", SETS)
@given(
    data=st.data(),
    width=st.integers(1, 40),
    channels=st.integers(1, 20),
    outputs=st.sampled_from([1, 16, 35]),
    bias=st.sampled_from(["one", "channel", "position"]),
)
def test_one_tap_is_exact(name, data, width, channels, outputs, bias):
    check(name, data, width, channels, outputs, (1, 1), (1, 1), (1, 1), 1, 11, bias)


def check(name, data, width, channels, outputs, kernel, stride, dilation, groups, shift, bias):
    padding = [data.draw(st.integers(0, d * (k - 1))) for k, d in zip(kernel, dilation, strict=True)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    height, width = max(4, reach[0]), max(width, reach[1])
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))

    def numbers(bits, *shape):
        return torch.randint(-(2**bits), 2**bits, shape, generator=generator, dtype=torch.int32)

    # 2^29 * 2^26 * 27 taps stay within 64 bits
    x = numbers(29, 2, height, width, channels * groups)
    weight = numbers(26 if shift > 0 else 3, outputs * groups, channels, *kernel)
    out = [(n + 2 * p - r) // s + 1 for n, p, r, s in zip((height, width), padding, reach, stride, strict=True)]
    shapes = {"one": (1,), "channel": (outputs * groups,), "position": (*out, outputs * groups)}
    add = numbers(28, *shapes[bias])
    geometry = (stride, padding, dilation, groups)
    term = ConvTerm("x", weight, (*out, outputs * groups), *geometry)
    term.shift = shift
    with using(name):
        for digits in (False, True) if tiles() else (False,):
            room = torch.empty((2, *out, outputs * groups), dtype=torch.int32)
            convolution = FixedConvolution((*out, outputs * groups), weight, add, shift, *geometry, digits=digits)
            assert torch.equal(convolution(x, room), summed(x, weight, add, shift, *geometry))
            sums = convolution.scaled(x.long())
            # products of 30 and 27 bits, in two parts of 15 bits, and 27 of them: float64 holds what it adds
            assert sums.dtype == torch.int64 and torch.equal(sums, term.exact(x.long()))


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [1, 7, 8, 15, 16, 23, 24, 30])
def test_digits_of_any_size(multiplying, planes, bits):
    """Each border between numbers of digits, of which the last of x has a sign and all of a weight have one."""
    x = torch.tensor([s * (2**bits + d) for d in (-1, 0, 1) for s in (1, -1) if 2**bits + d <= 2**30])
    x = x.int().repeat_interleave(70).reshape(-1, 70)
    largest = 127 * sum(256**n for n in range(planes))
    edges = [largest, largest + 1, -largest, -128 * sum(256**n for n in range(planes)), 0]
    weight = torch.tensor([w if abs(w) < 2**31 else w // 2 for w in edges], dtype=torch.int32)[:, None].repeat(1, 70)
    convolution = FixedConvolution((5,), weight, torch.zeros(1, dtype=torch.int32), 31, (), (), (), 1, digits=True)
    got = convolution(x, torch.empty((len(x), 5), dtype=torch.int32))
    assert torch.equal(got, summed(x, weight, torch.zeros(1, dtype=torch.int32), 31, (), (), (), 1))


def test_as_many_inputs_as_digits_have_room_for(chosen):
    zero, most = torch.zeros(1, dtype=torch.int32), _fixed.MOST_INPUTS
    for inputs in (most, most + 1):
        # all digits of x as large as they get, of a weight as small: sums are the largest there are
        x, weight = (torch.full((2, inputs), n, dtype=torch.int32) for n in (2**30 - 1, -128 * 257))
        convolution = FixedConvolution((2,), weight, zero, 31, (), (), (), 1, digits=tiles())
        assert (convolution._planes > 0) == (tiles() and inputs <= most)
        got = convolution(x, torch.empty((2, 2), dtype=torch.int32))
        assert torch.equal(got, summed(x, weight, zero, 31, (), (), (), 1))


def test_digits_are_where_the_processor_multiplies_them(chosen):
    weight = torch.ones(16, 64, dtype=torch.int32)
    args = (16,), weight, torch.zeros(1, dtype=torch.int32), 0, (), (), (), 1
    hardware = _native.load().tiles() == "hardware"
    assert (FixedConvolution(*args)._planes > 0) == hardware
    assert FixedConvolution((16,), weight[:, 1:], *args[2:])._planes == 0
    if not tiles():
        forced = FixedConvolution(*args, digits=True)
        with pytest.raises(ValueError, match="does not multiply"):
            forced(weight, weight.clone())


def test_the_definition_tells_one_apart(chosen):
    x, weight = torch.ones(1, 4, 9, 1, dtype=torch.int32), torch.ones(16, 1, 3, 3, dtype=torch.int32)
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    got = torch.empty((1, 4, 9, 16), dtype=torch.int32)
    FixedConvolution((4, 9, 16), weight, torch.zeros(1, dtype=torch.int32), 0, *geometry)(x, got)
    weight[15, 0, 2, 2] = 2
    assert not torch.equal(got, summed(x, weight, torch.zeros(1, dtype=torch.int32), 0, *geometry))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 3, 17, 16), (3, 2, 300), (4, 5), (0, 3, 4, 4), (1, 1, 2, 3, 4)])
def test_images_are_rounded_as_the_reference_rounds_them(chosen, shape, dtype):
    x = 3 * torch.randn(shape, dtype=dtype)
    assert torch.equal(image(x, 20), fixed_input(channels_last(x), 20).int())
    strided = torch.randn(shape[0], *shape[2:], shape[1], dtype=dtype).movedim(-1, 1)
    assert torch.equal(image(strided, 12), fixed_input(channels_last(strided), 12).int())


def test_numbers_that_are_special(chosen):
    inf, nan = float("inf"), float("nan")
    values = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.0, -0.0, inf, -inf, nan, 1e30, -1e30, LIMIT - 0.5, LIMIT, LIMIT + 1.0]
    x = torch.tensor([values], dtype=torch.float64)
    assert torch.equal(image(x, 0), fixed_input(x, 0).int())
    assert image(x, 0).tolist()[0][:6] == [0, 2, 2, 0, -2, -2] and image(x, 0)[0, 10] == 0
