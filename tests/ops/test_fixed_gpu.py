"""The first layer's fixed-point convolution on a GPU gives the native module's numbers, and those of whole sums."""

import pytest
import torch
from sums import MOST, summed

from fastsnn import _cuda, _env, _native, _triton
from fastsnn._registry import load
from fastsnn.ops._by_backend import FIXED
from fastsnn.ops._fixed import FixedConvolution
from fastsnn.windows import output_size

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))


@pytest.fixture(params=["triton", "cuda"])
def backend(request, monkeypatch) -> str:
    monkeypatch.setattr(_env, "BACKEND", request.param)
    return request.param


@pytest.fixture(autouse=True)
def able(device, backend):
    module = {"triton": _triton, "cuda": _cuda}[backend]
    if why := module.reason() or module.refuse(torch.empty(0, device=device)):
        pytest.skip(why)


@pytest.fixture
def g():
    return torch.Generator().manual_seed(5)


def numbers(g, shape, most):
    return torch.randint(-most, most + 1, shape, generator=g).int()


def agrees(backend, device, x, weight, bias, shift, stride=1, padding=0, dilation=1, groups=1):
    """Both give the same for x [B, *S, C]; returns it."""
    dims = weight.ndim - 2
    window = [stride] * dims, [padding] * dims, [dilation] * dims
    kernel = weight.shape[2:]
    sizes = [output_size(*each, False) for each in zip(x.shape[1:-1], kernel, *window, strict=True)]
    shape = (*sizes, weight.shape[0])
    want = FixedConvolution(shape, weight, bias, shift, *window, groups)(
        x, torch.empty((len(x), *shape), dtype=torch.int32)
    )
    on_gpu = load(FIXED[backend])(shape, weight.to(device), bias.to(device), shift, *window, groups)
    got = on_gpu(x.to(device), torch.empty(want.shape, dtype=torch.int32, device=device))
    assert torch.equal(got.cpu(), want)
    assert torch.equal(want, summed(x, weight, bias, shift, *window, groups))
    return want


@pytest.mark.parametrize("dims", [0, 1, 2, 3])
def test_linear_maps_and_convolutions_of_up_to_three_dimensions(g, backend, device, dims):
    x = numbers(g, (3, *[6, 5, 4][:dims], 5), MOST)
    agrees(backend, device, x, numbers(g, (9, 5, *[3, 2, 2][:dims]), 2**20), numbers(g, (9,), 2**28), 20)


@pytest.mark.parametrize("groups, inputs, outputs", [(1, 3, 70), (2, 6, 8), (3, 3, 9), (5, 10, 5)])
def test_groups_and_many_outputs(g, backend, device, groups, inputs, outputs):
    x = numbers(g, (2, 4, 5, inputs), MOST)
    weight = numbers(g, (outputs, inputs // groups, 3, 2), 2**20)
    agrees(backend, device, x, weight, numbers(g, (outputs,), 9), 21, groups=groups)


@pytest.mark.parametrize("stride, padding, dilation", [(2, 0, 1), (1, 2, 1), (1, 1, 2), (3, 3, 2)])
def test_strides_paddings_and_dilations(g, backend, device, stride, padding, dilation):
    x = numbers(g, (2, 7, 8, 3), MOST)
    agrees(backend, device, x, numbers(g, (5, 3, 3, 3), 2**20), numbers(g, (5,), 9), 20, stride, padding, dilation)


@pytest.mark.parametrize("shift", [1, 2, 15, 31, 32, 40, 0, -1, -7])
def test_shifts_to_either_side(g, backend, device, shift):
    """Numbers that the shift leaves some bits of, from both signs; halves are rounded up."""
    most = 2 ** min(max(shift // 2 + 4, 1), 24)
    x = numbers(g, (4, 9, 3), min(most, MOST))
    got = agrees(backend, device, x, numbers(g, (6, 3, 2), most), numbers(g, (6,), 3), shift)
    assert len(got.unique()) > 9


def test_halves_are_rounded_up(backend, device):
    x = torch.tensor([[-3], [-2], [-1], [0], [1], [2], [3]], dtype=torch.int32)
    one, zero = torch.ones(1, 1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    assert agrees(backend, device, x, one, zero, 1).flatten().tolist() == [-1, -1, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_inputs_saturate_and_do_not_wrap(backend, device, sign):
    """27 products of 2^30 and 2^31 - 1 are within 64 bits, far beyond 32, and stay so with the bias."""
    x = torch.full((1, 3, 3, 3), MOST, dtype=torch.int32)
    x[0, 0, 0, 0] = -MOST
    weight = torch.full((4, 3, 3, 3), sign * (2**27 - 1), dtype=torch.int32)
    weight[1] = 0
    weight[2, 1:] = 0
    bias = torch.tensor([0, sign * (2**31 - 1), 0, -sign * (2**31 - 1)], dtype=torch.int32)
    got = agrees(backend, device, x, weight, bias, 20)
    assert got.flatten()[:3].tolist() == [sign * (MOST - 1)] * 3


def test_a_bias_of_each_position(g, backend, device):
    x = numbers(g, (3, 4, 5, 2), MOST)
    weight = numbers(g, (6, 2, 3, 3), 2**20)
    for shape in ((4, 5, 6), (4, 1, 1), (1, 5, 6)):
        agrees(backend, device, x, weight, numbers(g, shape, 2**29), 21, padding=1)


def test_one_bias_for_all_and_no_images(g, backend, device):
    x, weight = numbers(g, (2, 4, 3), MOST), numbers(g, (5, 3, 2), 2**20)
    agrees(backend, device, x, weight, numbers(g, (1,), 2**29), 20)
    assert agrees(backend, device, x[:0], weight, numbers(g, (5,), 9), 20).shape == (0, 3, 5)
