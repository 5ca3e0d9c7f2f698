"""Interpolated spikes are read as moved spikes with one weight each, wherever a few of them make up every window."""

import pytest
import torch
import torch.nn.functional as F
from programs import numbers, program
from torch import nn
from zoo import conv, gap

from fastsnn.convert.capture import capture
from fastsnn.convert.graph import Window
from fastsnn.convert.shares import shares
from fastsnn.program import CountLayer, RouteLayer
from fastsnn.windows import window_index


def window_of(shape, **options):
    """The window that an interpolation is, and what it makes of numbers."""

    class Up(nn.Module):
        def forward(self, x):
            return F.interpolate(x, **options)

    x = torch.randn(1, 1, *shape)
    (window,) = (n.payload for n in capture(Up(), x).graph.nodes.values() if isinstance(n.payload, Window))
    x = x.double()
    return window, x.flatten(), F.interpolate(x, **options).flatten()


def added(found, x):
    """What shares make of one channel of numbers [P]."""
    padded = torch.cat([x, torch.zeros(1, dtype=x.dtype)])
    return sum(share.weight * padded[share.index] for share in found)


@pytest.mark.parametrize(
    "shape, options, weights",
    [
        ((3, 5), dict(scale_factor=2, mode="bilinear"), [9 / 16, 3 / 16, 3 / 16, 1 / 16]),
        ((3, 4), dict(scale_factor=3, mode="bilinear"), [4 / 9, 2 / 9, 2 / 9, 1 / 9]),
        ((5,), dict(scale_factor=2, mode="linear"), [3 / 4, 1 / 4]),
        ((5,), dict(scale_factor=4, mode="linear"), [5 / 8, 1 / 4, 1 / 8]),
        ((1, 1), dict(size=(4, 3), mode="bilinear"), [1.0]),
        ((1, 3), dict(scale_factor=2, mode="bilinear"), [3 / 4, 1 / 4]),
        ((4, 4), dict(size=(6, 4), mode="bilinear", align_corners=True), [0.6, 0.2, 0.2]),
    ],
)
def test_shares_add_up_to_the_interpolation(shape, options, weights):
    torch.manual_seed(0)
    window, x, want = window_of(shape, **options)
    found = shares(window, 4)
    # the cuts are rounded to 12 decimals
    assert [share.weight for share in found] == pytest.approx(weights, abs=1e-11)
    torch.testing.assert_close(added(found, x), want, rtol=0, atol=1e-10)


def test_windows_that_reach_less_far_have_fewer_shares():
    index, _ = window_index((4,), (2,), (1,), (1,), (1,))
    weight = torch.where(index < 0, 7.0, torch.tensor([0.75, 0.25], dtype=torch.float64))
    x = torch.randn(4, dtype=torch.float64)
    padded = torch.cat([x, torch.zeros(1, dtype=torch.float64)])
    want = (padded[index] * torch.where(index < 0, 0.0, weight)).sum(1)
    found = shares(Window(index, weight), 4)
    torch.testing.assert_close(added(found, x), want, rtol=0, atol=1e-10)
    nothing = Window(torch.full((3, 2), -1), torch.ones(3, 2, dtype=torch.float64))
    assert shares(nothing, 4) is None
    some = Window(torch.tensor([[-1, -1], [1, 0]]), torch.ones(2, 2, dtype=torch.float64))
    torch.testing.assert_close(added(shares(some, 2), x), torch.stack([x.new_zeros(()), x[0] + x[1]]))


@pytest.mark.parametrize(
    "options",
    [
        dict(scale_factor=2, mode="bicubic"),
        dict(scale_factor=2, mode="bilinear", align_corners=True),
        dict(scale_factor=4, mode="bilinear"),
    ],
    ids=["weights below zero", "another weight at each position", "nine shares"],
)
def test_other_windows_are_numbers(options):
    window, *_ = window_of((4, 4), **options)
    assert shares(window, 4) is None


def decoder(**mode):
    """What a U-Net does: spikes that were interpolated, concatenated with those of a skip connection."""

    def forward(m, x):
        a = F.relu(m.a(x))
        b = F.relu(m.b(F.max_pool2d(a, 2)))
        return m.fc(gap(F.relu(m.c(torch.cat([a, F.interpolate(b, scale_factor=2, **mode)], 1)))))

    return program(forward, a=conv(3, 4), b=conv(4, 6), c=conv(10, 5), fc=nn.Linear(5, 4))


def test_a_decoder_reads_spikes_alone():
    found = decoder(mode="bilinear")
    assert not numbers(found)
    assert sum(isinstance(layer, RouteLayer) for layer in found.layers.values()) == 4


def test_without_shares_it_reads_numbers():
    assert numbers(decoder(mode="bicubic"))


def test_windows_of_one_weight_are_counted():
    def forward(m, x):
        x = F.relu(m.a(x))
        return m.fc(gap(F.relu(m.b(F.avg_pool2d(x, 3, 2)))))

    layers = program(forward, a=conv(3, 4), b=conv(4, 5), fc=nn.Linear(5, 4)).layers.values()
    assert any(isinstance(layer, CountLayer) for layer in layers)
    assert not any(isinstance(layer, RouteLayer) for layer in layers)


def test_linear_layers_take_windows_whole():
    """VGG-16 on small images: a pool that repeats positions, flattened."""

    def forward(m, x):
        x = F.adaptive_avg_pool2d(F.relu(m.a(x)), 5)
        return m.fc(F.relu(m.b(x.flatten(1))))

    found = program(forward, a=conv(3, 4, stride=4), b=nn.Linear(100, 5), fc=nn.Linear(5, 4))
    assert not numbers(found)
    assert [tuple(term.weight.shape) for term in found.neurons["relu_1"].terms] == [(5, 36)]
