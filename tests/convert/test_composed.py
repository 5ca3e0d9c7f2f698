"""Convolutions of convolutions, and of concatenated values, become convolutions of spikes where that is one map."""

from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from programs import numbers, program
from torch import nn
from zoo import conv, gap

from fastsnn.convert.composed import composed, fits
from fastsnn.convert.graph import Conv
from fastsnn.program import ConvTerm


def convolved(x, c):
    functions = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
    return functions[x.ndim](x, c.weight, None, c.stride, c.padding, c.dilation, c.groups)


def made(outputs, inputs, kernel, stride=1, padding=0, dilation=1, groups=1):
    dims = len(kernel)
    weight = torch.randn(outputs, inputs // groups, *kernel, dtype=torch.float64)
    return Conv(weight, (stride,) * dims, (padding,) * dims, (dilation,) * dims, groups)


@pytest.mark.parametrize(
    "inner, outer",
    [
        (dict(kernel=(1, 1)), dict(kernel=(3, 3), stride=2, padding=1)),
        (dict(kernel=(2, 2), padding=1), dict(kernel=(3, 3), padding=1)),
        (dict(kernel=(3, 2), padding=4, dilation=2), dict(kernel=(2, 3), stride=3, padding=2, dilation=3)),
        (dict(kernel=(3, 3)), dict(kernel=(3, 1), stride=2)),
        (dict(kernel=(3,), padding=1), dict(kernel=(4,))),
        (dict(kernel=(1, 2, 1), padding=1), dict(kernel=(2, 1, 2), padding=1)),
    ],
)
def test_the_composed_convolution_is_both_in_turn(inner, outer):
    torch.manual_seed(0)
    inner, outer = made(3, 4, **inner), made(5, 3, **outer)
    x = torch.randn(2, 4, *[11] * (inner.weight.ndim - 2), dtype=torch.float64)
    assert fits(outer, inner)
    torch.testing.assert_close(convolved(x, composed(outer, inner)), convolved(convolved(x, inner), outer))


@pytest.mark.parametrize(
    "inner, outer",
    [
        (dict(kernel=(3, 3), padding=1), dict(kernel=(3, 3), padding=1)),
        (dict(kernel=(1, 1), stride=2), dict(kernel=(3, 3))),
        (dict(kernel=(1, 1), groups=2), dict(kernel=(3, 3))),
    ],
    ids=["values beyond the border", "stride", "groups"],
)
def test_what_is_no_single_convolution_is_left_alone(inner, outer):
    assert not fits(made(5, 4, **outer), made(4, 4, **inner))


def test_without_that_rule_borders_would_differ():
    inner, outer = (made(4, 4, (3, 3), padding=1) for _ in range(2))
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    assert not torch.allclose(convolved(x, composed(outer, inner)), convolved(convolved(x, inner), outer))


def test_a_decoder_reads_spikes_alone():
    def forward(m, x):
        a = F.relu(m.a(x))
        b = F.relu(m.b(F.max_pool2d(a, 2)))
        return m.fc(gap(F.relu(m.c(torch.cat([a, m.up(b)], 1)))))

    up = nn.ConvTranspose2d(6, 4, 2, 2)
    found = program(forward, a=conv(3, 4), b=conv(4, 6), up=up, c=conv(8, 5), fc=nn.Linear(5, 4))
    assert not numbers(found)
    skip, beside = list(found.neurons.values())[-1].terms
    assert isinstance(skip, ConvTerm) and tuple(beside.weight.shape[2:]) == (4, 4)


def test_convolutions_read_what_is_in_front_of_a_value_that_several_read():
    def forward(m, x):
        narrow = m.b(F.relu(m.a(x)))
        return m.fc(gap(F.relu(m.c(narrow)) + F.relu(m.d(narrow))))

    assert not numbers(program(forward, a=conv(3, 6), b=conv(6, 2, 1), c=conv(2, 5), d=conv(2, 5), fc=nn.Linear(5, 4)))


def test_a_value_that_something_else_reads_too_is_kept():
    def forward(m, x):
        narrow = m.b(F.relu(m.a(x)))
        return m.fc(gap(F.relu(m.c(narrow) + F.max_pool2d(narrow, 3, 1, 1))))

    found = program(forward, a=conv(3, 6), b=conv(6, 5, 1), c=conv(5, 5), fc=nn.Linear(5, 4))
    assert "b" in numbers(found)


def test_few_numbers_of_many_spikes_are_kept():
    def forward(m, x):
        return m.fc(gap(F.relu(m.c(m.b(F.relu(m.a(x)))))))

    kept = program(forward, a=conv(3, 8), b=conv(8, 1, padding=2), c=conv(1, 5), fc=nn.Linear(5, 4))
    assert numbers(kept) == {"b"}, "72 spikes for one number"
    one = program(forward, a=conv(3, 7), b=conv(7, 1, padding=2), c=conv(1, 5), fc=nn.Linear(5, 4))
    assert not numbers(one), "63 spikes for one number"


def test_weights_stay_within_bounds(monkeypatch):
    def forward(m, x):
        x = m.b(F.relu(m.a(x)))
        return m.fc(gap(F.relu(m.c(F.relu(F.avg_pool2d(m.d(F.relu(m.e(x))), 2))))))

    layers = dict(a=conv(3, 6), b=conv(6, 4, 1), e=conv(4, 5, 1), d=conv(5, 4), c=conv(4, 5), fc=nn.Linear(5, 4))
    module = import_module("fastsnn.convert.composed")
    assert not numbers(program(forward, **layers))
    # 6 times 5 of the two convolutions; 4 times 5, 4x4 of the pool and the one in front
    monkeypatch.setattr(module, "LARGEST", 29)
    assert numbers(program(forward, **layers)) == {"b", "d"}
    monkeypatch.setattr(module, "LARGEST", 319)
    assert numbers(program(forward, **layers)) == {"d"}
    monkeypatch.setattr(module, "LARGEST", 320)
    assert not numbers(program(forward, **layers))


def bottlenecks(blocks):
    """Those of MobileNetV2: sums with no neurons behind them, read by the next block and by the next sum."""

    def forward(m, x):
        x = m.narrow(F.relu(m.stem(x)))
        for wide, deep, narrow in zip(m.wide, m.deep, m.narrows, strict=True):
            x = x + narrow(F.relu(deep(F.relu(wide(x)))))
        return m.fc(gap(F.relu(m.last(x))))

    def each(*args, **options):
        return nn.ModuleList(conv(*args, **options) for _ in range(blocks))

    wide, deep, narrows = each(3, 8, 1), each(8, 8, groups=8), each(8, 3, 1)
    rest = dict(stem=conv(3, 6), narrow=conv(6, 3, 1), last=conv(3, 5, 1), fc=nn.Linear(5, 4))
    return program(forward, wide=wide, deep=deep, narrows=narrows, **rest)


def test_sums_of_up_to_four_bottlenecks_are_read_apart():
    found = bottlenecks(3)
    assert not numbers(found)
    assert [len(la.terms) for la in found.neurons.values()] == [1, 1, 1, 2, 1, 3, 1, 4]


def test_a_longer_sum_is_kept():
    assert len(numbers(bottlenecks(4))) == 1


def test_spikes_that_are_padded_stay_spikes():
    def forward(m, x):
        return m.fc(gap(F.relu(m.b(F.pad(F.relu(m.a(x)), (1, 2, 0, 1))))))

    found = program(forward, a=conv(3, 6), b=conv(6, 5), fc=nn.Linear(5, 4))
    assert len(set(found.neurons["relu"].unit.tolist())) == 6, "channels have thresholds of their own"
    assert not numbers(found)
