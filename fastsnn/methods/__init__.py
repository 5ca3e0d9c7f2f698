"""The conversion methods, one small file each: what a method decides, and how one is found by its name.

A method chooses the neuron, the thresholds and the initial potentials; the engine knows nothing of it.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from fastsnn.convert.refine import Correction, Refinement
from fastsnn.convert.statistics import Activation
from fastsnn.methods.card import Card
from fastsnn.neurons import Neuron
from fastsnn.program import Program


class Method(Protocol):
    """What the converter asks of a method.

    name     as in convert(method=name)
    card     what a reader has to know of it
    neuron   the rules of its neurons
    """

    name: str
    card: Card
    neuron: Neuron

    def check(self, bounds: Mapping[str, Tensor | None]) -> None:
        """Raises ConversionError, before anything is calibrated, for layers (name -> bound) the method cannot take."""

    def threshold(self, activation: Activation, bound: Tensor | None, timesteps: int) -> Tensor:
        """The threshold of a layer, one number or [C], from its activations and its bound."""

    def initial_potential(self, shape: tuple[int, ...], error: Callable[[float], float]) -> Tensor | float:
        """V(0) in units of the threshold, spreading over [*S, C].

        error(c) is the layer's mean squared error over the calibration images if V(0) were c; it is computed on demand.
        """


@runtime_checkable
class Correcting(Protocol):
    """A method that corrects layers, one after another, once thresholds and initial potentials are set.

    rereads   whether that takes images: they are then read several times
    """

    rereads: bool

    def correct(self, given: Refinement, name: str) -> Correction:
        """What is changed in layer `name`; the layers before it are corrected already."""


@runtime_checkable
class Balancing(Protocol):
    """A method that finds all thresholds at once, in passes of its own, and may read the output late."""

    rereads: bool

    def balance(
        self, bare: Program, data: Any, bounds: Mapping[str, Tensor | None], device: torch.device, progress: bool
    ) -> dict[str, Tensor]:
        """Thresholds by layer, one number or [C].

        bare   the network with thresholds of 1, whose neurons `dense(clip=False)` replaces by plain ReLUs
        """

    def delay(self, units: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> int:
        """Steps that the output leaves out, from thresholds and mean dense activations of channels."""


METHODS = {
    "opi": "fastsnn.methods.opi:OPI",
    "rts": "fastsnn.methods.rts:RTS",
    "lcp": "fastsnn.methods.lcp:LCP",
    "acp": "fastsnn.methods.acp:ACP",
    "ftbc": "fastsnn.methods.ftbc:FTBC",
    "ltb": "fastsnn.methods.ltb:LTB",
    "srp": "fastsnn.methods.srp:SRP",
    "cos": "fastsnn.methods.cos:COS",
    "parallel": "fastsnn.methods.parallel:Parallel",
    "pascal": "fastsnn.methods.pascal:PASCAL",
    "tpp": "fastsnn.methods.tpp:TPP",
    "burst": "fastsnn.methods.burst:Burst",
    "m-ht": "fastsnn.methods.m_ht:MHT",
    "gn": "fastsnn.methods.gn:GN",
    "h-mt": "fastsnn.methods.h_mt:HMT",
    "snm": "fastsnn.methods.snm:SNM",
    "fast-snn": "fastsnn.methods.fast_snn:FastSNN",
    "st-bif": "fastsnn.methods.st_bif:STBIF",
    "casc": "fastsnn.methods.casc:CASC",
    "ecmt": "fastsnn.methods.ecmt:ECMT",
    "dc": "fastsnn.methods.dc:DC",
    "msat": "fastsnn.methods.msat:MSAT",
}


def build(name: str, **options: Any) -> Method:
    """The method of that name. Raises ValueError for an unknown name or value, TypeError for an unknown option."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; there is {', '.join(METHODS)}")
    module, cls = METHODS[name].split(":")
    return getattr(import_module(module), cls)(**options)
