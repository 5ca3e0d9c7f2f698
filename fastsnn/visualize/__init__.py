"""Figures of a profile: accuracy over time, latency and energy, what each layer costs, how it fires, what bounds it.

Each function takes a profile, or the document of one, and returns a `matplotlib.figure.Figure`; save it with
`figure.savefig(path)`. Those with a parameter `profiles` also take a mapping from names to profiles and overlay them.
No window is opened and no global state is left. What the document cannot show raises ValueError with the reason.
"""

from fastsnn.visualize._bars import layer_operations, layer_rates, layer_times
from fastsnn.visualize._curves import accuracy, rates_over_time
from fastsnn.visualize._panels import activations, rate_histograms, spike_raster
from fastsnn.visualize._roofline import roofline

__all__ = [
    "accuracy",
    "activations",
    "layer_operations",
    "layer_rates",
    "layer_times",
    "rate_histograms",
    "rates_over_time",
    "roofline",
    "spike_raster",
]
