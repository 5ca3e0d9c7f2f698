"""Spiking modules by hand: dense and packed sequences, streams, state, parameters."""

import pytest
import torch
from torch import nn

from fastsnn.nn import IF, LIF, Conv1dIF, Conv2dIF, LinearIF, PerStep, SpikingAvgPool2d, pack, reset, unpack


def test_neurons_are_their_formula():
    x = torch.randn(37, 4, 5)
    v, wanted = torch.full((4, 5), 0.35), []
    for current in x:
        v = 0.9 * v + current
        fired = (v > 0.7).float()
        v = v - 0.7 * fired
        wanted.append(fired)
    found = LIF(0.9, 0.7, 0.5, comparator=">")(x)
    # the kernel computes v + (leak - 1) v; a potential that close to the threshold would be chance
    assert torch.equal(found, torch.stack(wanted))


@pytest.mark.parametrize(
    "layer, shape",
    [
        (lambda: LinearIF(12, 7), (12,)),
        (lambda: Conv1dIF(3, 5, 3, padding=1, groups=1), (3, 11)),
        (lambda: Conv2dIF(4, 6, 3, stride=2, padding=1, groups=2, bias=False), (4, 9, 8)),
        (lambda: Conv2dIF(4, 4, 3, dilation=2, neurons=LIF(0.8, torch.rand(4) + 0.5)), (4, 9, 8)),
        (lambda: SpikingAvgPool2d(3, 2, 1), (4, 9, 8)),
    ],
    ids=["linear", "conv1d", "conv2d", "dilated-lif", "pool"],
)
def test_packed_spikes_give_what_dense_ones_give(layer, shape):
    module = layer().double()
    x = (torch.rand(40, 3, *shape) < 0.4).double()
    dense = module(x)
    reset(module)
    packed = module(pack(x))
    assert 0 < dense.mean() < 1
    assert torch.equal(unpack(packed, torch.float64), dense)


@pytest.mark.parametrize("packed", [False, True])
def test_calls_go_on_from_each_other(packed):
    model = nn.Sequential(Conv2dIF(2, 3, 3), SpikingAvgPool2d(2)).double()
    x = (torch.rand(20, 2, 2, 8, 8) < 0.5).double()
    run = (lambda part: unpack(model(pack(part)), torch.float64)) if packed else model
    whole = run(x)
    reset(model)
    assert torch.equal(torch.cat([run(x[:3]), run(x[3:])]), whole)


def test_state_is_given_and_taken():
    layer, x = LinearIF(4, 3), torch.rand(6, 2, 4)
    first, state = layer.run(x[:2])
    second, _ = layer.run(x[2:], state)
    assert layer.state is None
    assert torch.equal(torch.cat([first, second]), layer(x))
    layer.state = state
    assert torch.equal(layer(x[2:]), second)


@pytest.mark.parametrize("packed", [False, True])
def test_another_batch_in_mid_stream(packed):
    layer, x = LinearIF(4, 3), torch.ones(6, 2, 4)
    given = pack if packed else (lambda part: part)
    layer(given(x))
    with pytest.raises(ValueError, match=r"state of a batch of 2, got a batch of 1: call reset\(\)"):
        layer(given(x[:, :1]))
    layer.reset()
    layer(given(x[:, :1]))


def test_parameters_load_and_the_state_is_not_among_them():
    model = nn.Sequential(Conv2dIF(2, 3, 3, neurons=IF(torch.rand(3) + 0.5)), PerStep(nn.Flatten()), LinearIF(108, 4))
    x = torch.rand(5, 2, 2, 8, 8)
    spikes = model(x)
    other = nn.Sequential(Conv2dIF(2, 3, 3, neurons=IF(torch.ones(3))), PerStep(nn.Flatten()), LinearIF(108, 4))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), spikes)
    assert not any("state" in name for name in model.state_dict())


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: IF(0.0), ValueError, "threshold must be above 0"),
        (lambda: IF(torch.ones(2, 2)), ValueError, "one or one a channel"),
        (lambda: LIF(1.5), ValueError, "leak is the share"),
        (lambda: IF()(torch.zeros(4)), ValueError, r"sequence \[T, B, ...\] with T >= 1, got \[4\]"),
        (lambda: IF()(torch.zeros(4, 2, 3).int()), TypeError, "floating-point sequence"),
        (lambda: Conv2dIF(1, 1, 3)(torch.zeros(4, 2, 3)), ValueError, r"\[T, B, C, H, W\]"),
        (lambda: Conv2dIF(1, 1, 3, padding="same"), ValueError, "padding must be a number of zeros"),
        (lambda: LinearIF(3, 3, neurons=0.5), TypeError, "neurons must be fastsnn.nn.IF or LIF, got float"),
        (lambda: LinearIF(3, 3)(pack(torch.zeros(4, 2, 3, 3, 3))), ValueError, "SpikeTrain of one plane and 2 dim"),
        (lambda: pack(torch.full((2, 2, 2), 0.5)), ValueError, "spikes are 0 or 1"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
