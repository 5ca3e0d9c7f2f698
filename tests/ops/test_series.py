"""Exponentials and logarithms that are sums, products and quotients alone."""

import pytest
import torch

from fastsnn.ops import _series

ROUNDING = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


@pytest.mark.parametrize("dtype", ROUNDING)
def test_exponentials_and_logarithms_are_within_their_rounding(dtype):
    # twice as many digits as the smaller type has, or those of torch
    x = torch.cat([torch.linspace(-80, 80, 20001, dtype=torch.float64), torch.randn(2000, dtype=torch.float64)])
    x = x.to(dtype)
    y = torch.cat([torch.rand(5000, dtype=torch.float64), torch.logspace(-30, 0, 500, dtype=torch.float64)]).to(dtype)
    for found, wanted in (
        (_series.exp(x).double(), x.double().exp()),
        (_series.log1p(y).double(), y.double().log1p()),
    ):
        assert ((found - wanted).abs() / wanted).max() < 6 * ROUNDING[dtype]
    # cut off
    far = torch.tensor([-1e9, 1e9], dtype=dtype)
    assert torch.equal(_series.exp(far), _series.exp(far.sign() * 80))
