"""Networks to and from the Neuromorphic Intermediate Representation (NIR)."""

from fastsnn.interop.nir_read import from_nir
from fastsnn.interop.nir_write import to_nir

__all__ = ["from_nir", "to_nir"]
