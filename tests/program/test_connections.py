"""Connections are what a spike reaches, found one spike at a time."""

import pytest
import torch
from torch import nn

from fastsnn.ops.conv_if.reference import convolve
from fastsnn.program import ConvTerm, LinearTerm, MaxPoolLayer, NeuronLayer, RouteLayer, ScaleTerm, WindowTerm
from fastsnn.program.connections import conv_fan_out, conv_macs, fan_out, is_pooling, spread, window_reach
from fastsnn.program.layers import Layer
from fastsnn.windows import Pooling, window_index

# sizes, channels, outputs, kernel, stride, padding, dilation, groups
CONVS = {
    "plain": ((5, 6), 3, 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "stride": ((7, 6), 2, 3, (3, 2), (2, 3), (1, 0), (1, 1), 1),
    "wide padding": ((4, 4), 2, 2, (3, 3), (2, 2), (4, 3), (1, 1), 1),
    "dilation": ((8, 9), 2, 2, (2, 3), (1, 2), (2, 1), (3, 2), 1),
    "groups": ((5, 5), 4, 6, (3, 3), (2, 1), (1, 1), (1, 1), 2),
    "depthwise": ((5, 4), 3, 3, (3, 3), (1, 1), (1, 1), (1, 1), 3),
    "one dimension": ((9,), 3, 2, (4,), (3,), (2,), (1,), 1),
    "three": ((3, 4, 3), 2, 2, (2, 3, 2), (1, 2, 1), (1, 1, 0), (1, 1, 1), 1),
    "kernel over all": ((3, 3), 2, 5, (3, 3), (1, 1), (0, 0), (1, 1), 1),
}


def one_by_one(linear, shape):
    """Elements of the result that differ from zero for a spike at each element of a source."""
    size = torch.Size(shape).numel()
    spikes = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    return (linear(spikes) != 0).flatten(1).sum(1).reshape(shape)


def weights(*shape, zeros=False):
    """None of them zero, or about a third."""
    found = torch.rand(shape, dtype=torch.float64) + 0.5
    return found * (torch.rand(shape) > 0.3) if zeros else found


@pytest.mark.parametrize("zeros", [False, True], ids=["full", "pruned"])
@pytest.mark.parametrize("name", CONVS)
def test_convolutions(name, zeros):
    sizes, channels, outputs, kernel, stride, padding, dilation, groups = CONVS[name]
    weight = weights(outputs, channels // groups, *kernel, zeros=zeros)
    expected = one_by_one(lambda x: convolve(x, weight, stride, padding, dilation, groups), (*sizes, channels))
    found = conv_fan_out(sizes, weight, stride, padding, dilation, groups)
    assert torch.equal(found, expected) and found.dtype == torch.int64
    existing, with_borders = conv_macs(sizes, weight, stride, padding, dilation, groups)
    shape = convolve(torch.zeros(1, *sizes, channels).double(), weight, stride, padding, dilation, groups).shape
    assert existing == expected.sum()
    assert with_borders == shape[1:-1].numel() * weight.numel() >= existing


def test_the_usual_count_is_that_of_pytorch():
    from torch.utils.flop_counter import FlopCounterMode

    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, 4, 9, 8))
    assert 2 * conv_macs((9, 8), layer.weight, (2, 2), (1, 1), (1, 1), 2)[1] == counter.get_total_flops()


def test_terms_of_every_kind():
    index, out = window_index((4, 5), (3, 2), (2, 2), (1, 0), (1, 1))
    average = (index >= 0).double()[..., None] * weights(1, 1, 3)
    terms = [
        (LinearTerm("x", weights(4, 7, zeros=True), (4,)), (7,)),
        (ScaleTerm("x", torch.tensor([1.0, 0.0, 2.0]), (2, 2, 3)), (2, 2, 3)),
        (WindowTerm("x", average, (*out, 3), index), (4, 5, 3)),
        (ConvTerm("x", weights(2, 3, 3, 3), (3, 3, 2), (2, 2), (1, 1), (1, 1), 1), (5, 5, 3)),
    ]
    for term, shape in terms:
        assert torch.equal(fan_out(term, shape), one_by_one(term, shape)), type(term).__name__


def test_weights_of_every_dtype_count_alike():
    weight = torch.randint(-2, 3, (4, 3, 3, 3))
    expected = conv_fan_out((5, 5), weight.double(), (1, 1), (1, 1), (1, 1), 1)
    for dtype in (torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16, torch.float32):
        assert torch.equal(conv_fan_out((5, 5), weight.to(dtype), (1, 1), (1, 1), (1, 1), 1), expected), dtype


def test_max_pools_reach_the_windows_that_hold_an_element():
    source = Layer("x", (5, 6, 2))
    pool = MaxPoolLayer("pool", (3, 3, 2), (), source, Pooling((3, 3), (2, 2), (1, 1), (1, 1)))
    found = window_reach(pool, source.shape)
    expected = torch.zeros(30, dtype=torch.int64)
    for window in pool.index.tolist():
        for position in window:
            if position >= 0:
                expected[position] += 1
    assert torch.equal(found, expected.reshape(5, 6, 1).expand(5, 6, 2))


class Spiking(Layer):
    spiking = True


def test_routes_lead_back_to_the_neurons():
    a, b = Spiking("a", (2, 3)), Spiking("b", (4,))
    flat = RouteLayer("flat", (6,), (), [a], None)
    # joined with b, one element twice, one not at all, one that is zero
    index = torch.tensor([0, 1, 1, 2, -1, 6, 7, 9])
    joined = RouteLayer("joined", (8,), (), [flat, b], index)
    layers = {layer.name: layer for layer in (a, b, flat, joined)}
    found = spread("joined", torch.tensor([1, 2, 3, 4, 100, 5, 6, 7]), layers)
    assert found["a"].tolist() == [[1, 5, 4], [0, 0, 0]] and found["b"].tolist() == [5, 6, 0, 7]
    assert list(found) == ["a", "b"]


def test_pooling_is_told_from_a_depthwise_convolution():
    def depthwise(weight):
        return ConvTerm("x", weight, (2, 2, 3), (2, 2), (0, 0), (1, 1), 3)

    per_channel = torch.tensor([0.25, 0.5, 0.125]).reshape(3, 1, 1, 1)
    assert is_pooling(depthwise(per_channel.expand(3, 1, 2, 2)))
    assert not is_pooling(depthwise(torch.rand(3, 1, 2, 2)))
    assert not is_pooling(depthwise(torch.ones(3, 1, 1, 1)))
    assert not is_pooling(ConvTerm("x", torch.ones(3, 3, 2, 2), (2, 2, 3), (2, 2), (0, 0), (1, 1), 1))
    assert not is_pooling(LinearTerm("x", torch.ones(2, 3), (2,)))


def test_a_layer_of_neurons_leads_back_to_itself():
    assert issubclass(NeuronLayer, Layer)
    a = Spiking("a", (2, 3))
    assert torch.equal(spread("a", torch.arange(6), {"a": a})["a"], torch.arange(6).reshape(2, 3))
