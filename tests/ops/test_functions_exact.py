"""Smooth functions that are sums, products and quotients alone, beside torch's."""

import pytest
import torch
import torch.nn.functional as F

from fastsnn.ops._functions import WRITTEN_OUT, named

TORCH = {
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
    "elu": F.elu,
    "mish": F.mish,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}
aten = torch.ops.aten


def drawn():
    generator = torch.Generator().manual_seed(0)
    near = 4 * torch.randn(20000, generator=generator, dtype=torch.float64)
    return torch.cat([near, torch.linspace(-40, 40, 8001, dtype=torch.float64)])


def apart(found, wanted, x):
    """In roundings of numbers as large as x, or as 1."""
    return ((found - wanted).abs() / x.abs().clamp(min=1)).max() * 2.0**53


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_functions_are_within_their_rounding(name):
    x = drawn()
    # the exponential is within 6 (tests/ops/test_series.py), torch's functions within 4; a polynomial adds 2^-51
    assert apart(WRITTEN_OUT[name](x), TORCH[name](x), x) < 6 + 4 + 4


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_functions_are_finite_far_away(name):
    x = torch.tensor([-(2.0**35), -1e3, 0.0, 1e3, 2.0**35], dtype=torch.float64)
    found = WRITTEN_OUT[name](x)
    assert torch.allclose(found, TORCH[name](x), rtol=1e-15, atol=1e-15)


def test_a_difference_shows():
    x = drawn()
    assert apart(WRITTEN_OUT["gelu"](x), TORCH["gelu_tanh"](x), x) > 14
    assert apart(WRITTEN_OUT["silu"](x), TORCH["silu"](x) + 2e-15 * x, x) > 14


def test_only_usual_settings_have_a_name():
    x = {"node": 0}
    assert named(aten.gelu.default, ([x], {})) == "gelu"
    assert named(aten.gelu.default, ([x], {"approximate": "none"})) == "gelu"
    assert named(aten.gelu.default, ([x], {"approximate": "tanh"})) == "gelu_tanh"
    assert named(aten.elu.default, ([x], {})) == named(aten.elu.default, ([x, 1.0], {})) == "elu"
    assert named(aten.elu.default, ([x, 2.0], {})) is None
    assert named(aten.softplus.default, ([x, 1, 20], {})) == "softplus"
    assert named(aten.softplus.default, ([x, 3], {})) is None
    assert named(aten.mul.Tensor, ([x, {"node": 1}], {})) == "product"
    assert named(aten.softmax.int, ([x, -1], {})) is None
