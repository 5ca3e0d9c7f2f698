"""What neurons are called when a max pool moves before them: as their activation, whatever users call their modules."""

import torch
from torch import nn

import fastsnn
from fastsnn.convert.maxpool import POLICIES


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        # a name that fastsnn gives as well, to a neuron that stands beside its activation
        self.stem = nn.ModuleDict({"pooled": nn.ReLU()})
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, x):
        x = self.stem["pooled"](self.first(x))
        return self.pool(self.pool(self.relu(self.second(x)))).mean((2, 3))


def test_names_of_activations_are_kept():
    x = torch.randn(4, 3, 8, 8)
    for policy in POLICIES:
        snn = fastsnn.convert(Named(), x, max_pool=policy, timesteps=4)
        assert list(snn.thresholds) == ["stem.pooled", "relu"], policy


class Returned(nn.Module):
    """A pool of numbers that nothing but the user reads, beside an activation with the name of a graph's end."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.output = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()

    def forward(self, x):
        return nn.functional.max_pool2d(self.second(self.output(self.first(x))), 2)


def test_a_pool_that_is_a_result_stays_one():
    torch.manual_seed(0)
    model, x = Returned().double().eval(), torch.randn(4, 3, 8, 8).double()
    snn = fastsnn.convert(model, x, timesteps=4, precision="float64")
    assert list(snn.thresholds) == ["output"]
    with torch.no_grad():
        assert (snn.analog(x, clip=False) - model(x)).abs().max() < 1e-9
