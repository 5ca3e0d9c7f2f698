"""Which conversion method is best for a network: several of them at several T, on the same images."""

from fastsnn.comparison.api import compare_methods
from fastsnn.comparison.result import Comparison, Interrupted

__all__ = ["Comparison", "Interrupted", "compare_methods"]
