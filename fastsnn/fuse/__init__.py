"""Spiking networks of other libraries, and of `fastsnn.nn`, computed with fused layers."""

from fastsnn.fuse.api import fuse
from fastsnn.fuse.network import FusedNetwork

__all__ = ["FusedNetwork", "fuse"]
