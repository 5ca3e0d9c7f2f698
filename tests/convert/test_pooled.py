"""Whether a pool folded into the layer behind it is the same map, and where no number is kept over time any more."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo import randomise

import fastsnn
from fastsnn.convert.graph import Conv, Linear, Window
from fastsnn.convert.pooled import fold_conv, fold_linear
from fastsnn.program import LinearTerm, ValueLayer
from fastsnn.windows import Pooling, window_index


def average(sizes, kernel, stride=None, padding=None):
    dims = len(sizes)
    geometry = (kernel, stride or kernel, padding or (0,) * dims, (1,) * dims)
    index, _ = window_index(sizes, *geometry)
    weight = torch.full(index.shape, 1 / index.shape[1], dtype=torch.float64)
    return Window(index, weight, Pooling(*geometry))


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (4, 6)])
@pytest.mark.parametrize("stride, padding, dilation, groups", [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 4)])
def test_a_folded_convolution_is_pool_then_convolution(kernel, stride, padding, dilation, groups):
    x = torch.randn(2, 4, 12, 12, dtype=torch.float64)
    weight = torch.randn(8, 4 // groups, 2, 2, dtype=torch.float64)
    conv = Conv(weight, (stride,) * 2, (padding,) * 2, (dilation,) * 2, groups)
    folded = fold_conv(conv, average((12, 12), kernel), (12, 12))
    want = F.conv2d(F.avg_pool2d(x, kernel), weight, None, stride, padding, dilation, groups)
    got = F.conv2d(x, folded.weight, None, folded.stride, folded.padding, folded.dilation, folded.groups)
    assert (got - want).abs().max() < 1e-12


@pytest.mark.parametrize(
    "window", [average((7, 7), (2, 2)), average((8, 8), (3, 3), (1, 1)), average((8, 8), (2, 2), (2, 2), (1, 1))]
)
def test_pools_that_overlap_are_padded_or_leave_a_rest_are_not_folded(window):
    conv = Conv(torch.ones(1, 1, 1, 1), (1, 1), (0, 0), (1, 1), 1)
    assert fold_conv(conv, window, (7, 7) if window.index.shape[0] == 9 else (8, 8)) is None


def test_a_folded_linear_layer_is_pool_then_movement_then_linear():
    x = torch.randn(3, 6, 6, 4, dtype=torch.float64)
    window = average((6, 6), (2, 2))
    # part of the pooled values in another order, and a zero
    index = torch.cat([torch.randperm(9 * 4)[:20], torch.tensor([-1])])
    weight = torch.randn(5, 21, dtype=torch.float64)
    pooled = F.avg_pool2d(x.movedim(-1, 1), 2).movedim(1, -1).flatten(1)
    moved = torch.cat([pooled, torch.zeros(3, 1)], 1)[:, index]
    folded = fold_linear(Linear(weight), index, window, (6, 6), 4)
    assert (x.flatten(1) @ folded.weight.T - moved @ weight.T).abs().max() < 1e-12


def test_a_pool_that_others_read_too_converts():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc, self.out = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(64, 6), nn.Linear(6 + 4, 3)

        def forward(self, x):
            pooled = F.avg_pool2d(torch.relu(torch.relu(self.conv(x))), 2)
            flat = pooled.flatten(1)
            other = torch.relu(F.max_pool2d(pooled - 0.1, 4)).flatten(1)
            return self.out(torch.cat([torch.relu(self.fc(flat)), other], 1))

    net = randomise(Both()).double().eval()
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    snn = fastsnn.convert(net, x, precision="float64", threshold="max")
    assert (snn.analog(x, clip=False) - net(x)).abs().max() < 1e-12
    # the second of two ReLUs in a row is no neuron of its own
    assert len(snn.thresholds) == 3


def test_a_network_with_average_pools_keeps_nothing_but_words():
    def block(i, o):
        return nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()

    # the second batch norm is behind its ReLU: the pool carries an offset on
    layers = *block(3, 8), nn.AvgPool2d(2), *block(8, 8), nn.BatchNorm2d(8), nn.AvgPool2d(2), *block(8, 8)
    net = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5))
    net = randomise(net).double().eval()
    x = torch.randn(6, 3, 16, 16, dtype=torch.float64)
    snn = fastsnn.convert(net, x, precision="float64", threshold="max")
    assert (snn.analog(x, clip=False) - net(x)).abs().max() < 1e-12
    program = snn.program
    over_time = program.inner() & program.timed()
    assert not [name for name in over_time if isinstance(program.layers[name], ValueLayer)]
    assert isinstance(program.layers["15"].terms[0], LinearTerm)
