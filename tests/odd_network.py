"""A small network with all that is odd in it, for the tests of what runs whole networks on a GPU."""

import torch
from torch import nn
from torch.nn import functional as F

import fastsnn
from fastsnn import _env


class Odd(nn.Module):
    """Odd channel counts, an identity, a projection, a depthwise kernel, a pool in front, a gated max pool, vectors."""

    def __init__(self):
        super().__init__()
        self.first, self.plain = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 9, 3, padding=1)
        self.block, self.depthwise = nn.Conv2d(9, 9, 3, padding=1), nn.Conv2d(9, 9, 3, padding=1, groups=9)
        self.down, self.shortcut = nn.Conv2d(9, 12, 3, stride=2, padding=1), nn.Conv2d(9, 12, 1, stride=2)
        self.hidden, self.out = nn.Linear(12, 7), nn.Linear(7, 4)

    def forward(self, x):
        x = F.relu(self.plain(F.relu(self.first(x))))
        x = F.avg_pool2d(F.relu(self.block(x) + x), 2)
        y = F.max_pool2d(F.relu(self.depthwise(x)), 3, 1, 1)
        y = F.relu(self.down(y) + self.shortcut(x))
        return self.out(F.relu(self.hidden(F.avg_pool2d(y, 2).flatten(1))))


def odd_images():
    return torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def odd_networks(x, precisions):
    """The network converted in each precision, T = 5."""
    torch.manual_seed(0)
    model = Odd().eval()
    return {p: fastsnn.convert(model, x, precision=p, timesteps=5) for p in precisions}


def reference(snn, x, T, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_env, "BACKEND", "reference")
        return snn.spikes(x, T), snn(x, T), snn.logits_over_time(x, T)
