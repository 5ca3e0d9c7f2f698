"""Spiking layers to build networks from by hand, on the engine's own kernels.

>>> net = nn.Sequential(Conv2dIF(1, 8, 3), SpikingAvgPool2d(2), PerStep(nn.Flatten()), LinearIF(8 * 13 * 13, 10))
>>> spikes = net(images.expand(16, *images.shape))

Sequences are [T, B, C, *S]; or `SpikeTrain`s, see `pack` and `unpack`, which layers with weights take as they are.
`fastsnn.fuse` makes one program of such a network.
"""

from fastsnn.nn.neurons import IF, LIF
from fastsnn.nn.sequence import pack, unpack
from fastsnn.nn.state import Stateful, reset
from fastsnn.nn.steps import PerStep
from fastsnn.nn.weighted import Conv1dIF, Conv2dIF, LinearIF, SpikingAvgPool2d

__all__ = [
    "IF",
    "LIF",
    "Conv1dIF",
    "Conv2dIF",
    "LinearIF",
    "PerStep",
    "SpikingAvgPool2d",
    "Stateful",
    "pack",
    "reset",
    "unpack",
]
