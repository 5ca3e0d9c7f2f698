"""fastsnn: converts trained PyTorch networks into spiking networks and runs them fast.

snn = fastsnn.convert(model, calibration=images, timesteps=16)
logits = snn(images)
"""

from fastsnn import nn
from fastsnn.comparison import compare_methods
from fastsnn.convert.api import convert
from fastsnn.early import early_exit, exit_threshold
from fastsnn.errors import BackendUnavailable, ConversionError, FastSNNError
from fastsnn.fuse import FusedNetwork, fuse
from fastsnn.interop import from_nir, to_nir
from fastsnn.network import SpikingNetwork
from fastsnn.neurons import IF
from fastsnn.profile import profile
from fastsnn.saved import load
from fastsnn.spikes import SpikeTrain

__version__ = "0.1.0"

__all__ = [
    "IF",
    "BackendUnavailable",
    "ConversionError",
    "FastSNNError",
    "FusedNetwork",
    "SpikeTrain",
    "SpikingNetwork",
    "compare_methods",
    "convert",
    "early_exit",
    "exit_threshold",
    "from_nir",
    "fuse",
    "load",
    "nn",
    "profile",
    "to_nir",
]
