"""RTS: half a step's error is shifted into the current of every step instead of into V(0)."""

import torch

from fastsnn.convert.refine import Correction, Refinement
from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI


class RTS(OPI):
    """Soft-reset IF from V(0) = 0 with theta / (2 T) added to the current at every step.

    After T steps the shift has added theta/2, as OPI's V(0) has from the beginning; before that less. The network is
    taken as it is: the paper also trains with a shifted, clipped ReLU.

    threshold, per_channel, reset, comparator   as in OPI

    Source: Deng, Gu, ICLR 2021 ("Optimal conversion of conventional artificial neural networks").
    """

    name = "rts"
    rereads = False
    card = Card(
        title="theta / 2T added to the current of every step, V(0) = 0",
        source="Deng, Gu, ICLR 2021",
    )

    def __init__(self, **options: object) -> None:
        if options.get("initial_potential") not in (None, 0):
            raise ValueError(f"rts starts its neurons at 0, got initial_potential={options['initial_potential']!r}")
        super().__init__(**options | {"initial_potential": 0.0})  # type: ignore[arg-type]

    def correct(self, given: Refinement, name: str) -> Correction:
        """The same in every layer."""
        channels = given.program.neurons[name].shape[-1]
        return Correction(shift=torch.full((channels,), 0.5 / given.T, dtype=torch.float64))
