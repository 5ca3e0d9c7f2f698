"""What a spiking network really cost, beside the dense network it came from: counted, measured, modelled, reported."""

from fastsnn.profile.api import profile
from fastsnn.profile.energy import EnergyModel, register
from fastsnn.profile.result import Interrupted, Profile

__all__ = ["EnergyModel", "Interrupted", "Profile", "profile", "register"]
