"""The noise to train with: how far rates are from activations, layer by layer, and that trainings take it."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_train_loop import SMALL, training
from torch import nn

from fastsnn import train
from fastsnn.train import BoundedReLU, measure, residual


def chain(*widths: int, **options) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [(nn.Linear(a, b), BoundedReLU(1.0, **options)) for a, b in pairwise(widths)]
    return nn.Sequential(*(module for pair in layers for module in pair))


@pytest.mark.parametrize("T", [1, 4, 16])
def test_a_constant_input_errs_as_rounding_does(T):
    x = torch.rand(200, 100, generator=torch.Generator().manual_seed(T))
    # evenly spread within 1/(2 T) of the activation: 20,000 draws, whose deviation has a standard error of 0.3 %
    assert residual(nn.Sequential(BoundedReLU(1.0)), x, T)[0] == pytest.approx(1 / (T * math.sqrt(12)), rel=0.015)


def test_as_many_levels_as_steps_are_exact_where_the_input_is_constant():
    # multiples of 1/64, whose sums are exact: four levels are what four steps give
    x = torch.randint(-20, 90, (64, 8)).float() / 64
    net = nn.Sequential(BoundedReLU(1.0, levels=4), *chain(8, 32, 16, levels=4))
    found = residual(net, x, 4)
    assert found[0] == 0 and 0 < found[1] < 0.2 and 0 < found[2] < 0.2
    assert residual(nn.Sequential(BoundedReLU(1.0, levels=4)), x, 3)[0] > 0


def test_rates_are_those_of_neurons_simulated_by_hand():
    net, x, T = chain(6, 12, 5), torch.rand(32, 6, generator=torch.Generator().manual_seed(1)), 5
    potentials, counts = [torch.full((32, n), 0.5) for n in (12, 5)], [torch.zeros(32, n) for n in (12, 5)]
    with torch.no_grad():
        for _ in range(T):
            y = x
            for at, weights in enumerate((net[0], net[2])):
                potentials[at] += weights(y)
                y = (potentials[at] >= 1).float()
                potentials[at] -= y
                counts[at] += y
        dense = [net[:2](x), net(x)]
    wanted = [(count / T - y).std(correction=0).item() for count, y in zip(counts, dense, strict=True)]
    # sums of the same numbers in two orders: 2**-24 each
    assert residual(net, x, T) == pytest.approx(wanted, rel=1e-5)


class Odd(nn.Module):
    """One activation that is called twice on different shapes, and one that never is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.unused = BoundedReLU(1.0), BoundedReLU(1.0)
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.first(self.linear(self.first(x)))


def test_networks_are_left_as_they_were():
    net, x = Odd().train(), torch.rand(50, 4)
    before = net(x)
    found = residual(net, x, 4)
    assert net.training and torch.equal(net(x), before) and found[0] > 0 and found[1] == 0
    with pytest.raises(RuntimeError):
        residual(net, torch.rand(50, 5), 4)
    assert net.training and torch.equal(net(x), before)
    with pytest.raises(ValueError, match="T must be at least 1, got 0"):
        residual(net, x, 0)


def test_shifted_activations_start_at_zero():
    # so that none is clipped at the bound, half a step above
    x = torch.rand(400, 50, generator=torch.Generator().manual_seed(2)) * 15 / 16
    # counted in full steps from 0, with half a step in the activation: as well rounded as from theta/2
    assert residual(nn.Sequential(BoundedReLU(1.0, shift=8)), x, 8)[0] == pytest.approx(1 / (8 * 12**0.5), rel=0.03)


def test_noise_is_set_where_it_was_left_open():
    net = chain(6, 12, 5, noise=None)
    x = torch.rand(32, 6)
    assert torch.equal(net.train()(x), net.eval()(x)) and "noise=0" in repr(net)
    measure(net, x, 4)
    assert [net[1].noise.item(), net[3].noise.item()] == pytest.approx(residual(net, x, 4))
    assert not torch.equal(net.train()(x), net.eval()(x))
    assert all("noise" not in name for name in net.state_dict())


def test_the_same_noise_for_images_that_are_sixteen_apart():
    x = torch.rand(1, 5, 3).expand(40, 5, 3)
    y = BoundedReLU(1.0, noise=0.3).train()(x)
    assert torch.equal(y[:16], y[16:32]) and torch.equal(y[:8], y[32:]) and y[:16].unique(dim=0).shape[0] == 16


def test_trainings_measure_it_in_every_epoch(tmp_path):
    assert train.RECIPES["nq"].noise_steps == 4
    for name, options in (("none", {}), ("given", {"noise": 0.1}), ("measured", {"noise_steps": 2})):
        (tmp_path / name).mkdir()
        run = training(tmp_path / name, replace(SMALL, levels=4, **options))
        run.run()
        found = [row["noise_mean"] for row in run.rows]
        if name == "measured":
            assert len(set(found)) == 3 and all(0 < noise < 0.5 for noise in found)
        else:
            assert found == pytest.approx([options.get("noise", 0.0)] * 3)
