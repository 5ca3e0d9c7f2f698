"""Max pools that another operator pads with -inf become pools of their own padding, or are refused for it."""

from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fastsnn
from fastsnn.errors import ConversionError


class Padded(nn.Module):
    """A pool of what `pad` leaves, behind neurons or in front of them."""

    def __init__(self, pad, pool, first=True, value=-inf):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)
        self.pad, self.pool, self.first, self.value = pad, pool, first, value

    def forward(self, x):
        x = self.conv(x).relu() if self.first else self.conv(x)
        x = F.max_pool2d(F.pad(x, self.pad, value=self.value), **self.pool)
        return self.head((x if self.first else x.relu()).mean((2, 3)))


def converted(size, *args, **options):
    torch.manual_seed(0)
    model, x = Padded(*args, **options).eval(), torch.randn(4, 3, *size)
    return fastsnn.convert(model, x, timesteps=4, precision="float64"), model, x


SAME = {
    "symmetric": ((9, 9), [1, 1, 1, 1], {"kernel_size": 3, "stride": 2}),
    "more behind": ((8, 8), [0, 1, 0, 1], {"kernel_size": 3, "stride": 2}),
    "one side only": ((8, 9), [1, 1, 0, 1], {"kernel_size": 3, "stride": 2}),
    "even kernel": ((9, 9), [0, 1, 0, 1], {"kernel_size": 2}),
    "on top of its own": ((10, 8), [0, 1, 0, 1], {"kernel_size": 5, "stride": 2, "padding": 1}),
    "over the end already": ((8, 8), [1, 1, 1, 1], {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    "one dimension": ((8, 8), [1, 1], {"kernel_size": (1, 3), "stride": (1, 2)}),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", SAME)
def test_the_pool_pads_itself(name, first):
    size, pad, pool = SAME[name]
    snn, model, x = converted(size, pad, pool, first)
    # analog and model differ by float32 sums of 27 products: below 27 * 2^-24 of what is summed, which is below 8
    assert (snn.analog(x, clip=False) - model(x)).abs().max() < 27 * 2**-24 * 8


@pytest.mark.parametrize(
    "size, pad",
    [((9, 9), [1, 0, 1, 0]), ((9, 9), [0, 3, 0, 3]), ((9, 9), [2, 2, 2, 2]), ((9, 9), [1, 1, 1, -1])],
    ids=["more in front", "more than a window behind", "more than half a kernel", "less than nothing"],
)
def test_what_no_pool_does_is_refused(size, pad):
    with pytest.raises(ConversionError, match="it pads with infinite numbers, which has a spiking form only where"):
        converted(size, pad, {"kernel_size": 3, "stride": 2})


def test_infinite_numbers_that_others_read_are_refused():
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            x = F.pad(self.conv(x).relu(), [1, 1, 1, 1], value=-inf)
            return F.max_pool2d(x, 3, 2) + x[:, :, 1:-1, 1:-1][:, :, ::2, ::2]

    with pytest.raises(ConversionError, match="it pads with infinite numbers"):
        fastsnn.convert(Other().eval(), torch.randn(2, 3, 9, 9), timesteps=4)
