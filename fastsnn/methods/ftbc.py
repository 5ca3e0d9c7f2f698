"""FTBC: a bias for each channel and time-step, found by replaying every layer against the dense activation."""

import torch
from torch import Tensor

from fastsnn.convert.refine import Correction, Refinement
from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI


class FTBC(OPI):
    """OPI's neurons with a current of their own at each step, -beta[t, c].

    For each batch k = 0, 1, ... of at most 64 calibration images, layers in order, the corrections before them active:

        v = V(0);   for t:   m = v + I[t] - beta[t];   d = theta H(m - theta) - A
                             beta[t, c] += rate / (1 + k rate) mean(d) over images and positions
                             v = m - d - theta H(m - d - theta)

    where A is the dense activation: the replay goes on from a state that is corrected element by element. A network
    runs at most the T steps that it was calibrated for. In the source the rate is constant, over two or three large
    batches; here it falls, so that many small ones are averaged.

    rate   of the first update, above 0 and at most 1
    threshold, per_channel, initial_potential, reset, comparator, seed   as in OPI

    Source: Wu, Bojkovic, Gu, Suo, Zou, ECCV 2024.
    """

    name = "ftbc"
    rereads = True
    card = Card(
        title="a bias for each channel and time-step",
        source="Wu et al., ECCV 2024",
        passes="L + 1",
    )

    def __init__(self, rate: float = 0.5, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        if not 0 < rate <= 1:
            raise ValueError(f"rate must be above 0 and at most 1, got {rate}")
        self.rate = float(rate)

    @property
    def options(self) -> dict[str, object]:
        return super().options | {"rate": self.rate}

    def correct(self, given: Refinement, name: str) -> Correction:
        """From one replay of each batch."""
        layer = given.program.neurons[name]
        beta = torch.zeros(given.T, layer.shape[-1], device=given.device)
        start = layer.initial_potential.to(given.device, torch.float32)
        for k, (currents, wanted) in enumerate(given.currents(name)):
            self._replay(currents, wanted, start, beta, self.rate / (1 + k * self.rate))
        return Correction(schedule=-beta.double().cpu())

    def _replay(self, currents: Tensor, wanted: Tensor, start: Tensor, beta: Tensor, rate: float) -> None:
        fires = torch.gt if self.neuron.comparator == ">" else torch.ge
        v = start.expand_as(wanted)
        for t, current in enumerate(currents):
            m = v + current - beta[t]
            error = fires(m, 1).float() - wanted
            beta[t] += rate * error.reshape(-1, error.shape[-1]).mean(0)
            m = m - error
            v = m - fires(m, 1).float()
