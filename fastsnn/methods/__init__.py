"""The conversion methods, one small file each: what a method decides, and how one is found by its name.

A method chooses the neuron, the thresholds and the initial potentials; the engine knows nothing of it.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

from torch import Tensor

from fastsnn.convert.statistics import Activation
from fastsnn.methods.card import Card
from fastsnn.neurons import IF


class Method(Protocol):
    """What the converter asks of a method.

    name     as in convert(method=name)
    card     what a reader has to know of it
    neuron   the rules of its neurons
    """

    name: str
    card: Card
    neuron: IF

    def check(self, bounds: Mapping[str, Tensor | None]) -> None:
        """Raises ConversionError, before anything is calibrated, for layers (name -> bound) the method cannot take."""

    def threshold(self, activation: Activation, bound: Tensor | None, timesteps: int) -> Tensor:
        """The threshold of a layer, one number or [C], from its activations and its bound."""

    def initial_potential(self, shape: tuple[int, ...], error: Callable[[float], float]) -> Tensor | float:
        """V(0) in units of the threshold, spreading over [*S, C].

        error(c) is the layer's mean squared error over the calibration images if V(0) were c; it is computed on demand.
        """


METHODS = {"opi": "fastsnn.methods.opi:OPI"}


def build(name: str, **options: Any) -> Method:
    """The method of that name. Raises ValueError for an unknown name or value, TypeError for an unknown option."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; there is {', '.join(METHODS)}")
    module, cls = METHODS[name].split(":")
    return getattr(import_module(module), cls)(**options)
