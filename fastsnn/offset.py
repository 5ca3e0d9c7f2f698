"""What a neuron has to start from so that it fires one spike more, or less, where a first run shows that it was off."""

import torch
from torch import Tensor

# how far beyond the threshold a start is put, so that rounding decides nothing
BEYOND = 1e-3


class Probe:
    """Sees a layer's neurons step by step, and then says where they should start.

    A neuron that fired and ended below 0 fired once too often: it starts lower by as much as keeps the weakest of its
    spikes from happening. One that ended at the threshold or above fired once too little: it starts higher by as much
    as makes the step that came closest a spike.

        v < 0:       V(0) -= max(theta, (least potential that fired) - 0.999 theta)
        v >= theta:  V(0) += max(theta, 1.001 theta - (largest potential that did not))

    threshold, start   of the layer, spreading over its neurons

    Source: Hao et al., ICLR 2023 (COS).
    """

    def __init__(self, threshold: Tensor, start: Tensor) -> None:
        self.threshold, self.start = threshold.double(), start
        self.fired = self.missed = self.v = torch.zeros(())

    def see(self, words: Tensor, v: Tensor) -> None:
        """One more step: words of one step, and the potentials after it."""
        spike = (words & 1).bool()
        before = v.double() + spike * self.threshold
        if self.v.ndim == 0:
            self.fired = torch.full_like(before, torch.inf)
            self.missed = torch.full_like(before, -torch.inf)
        self.fired = torch.where(spike, torch.minimum(self.fired, before), self.fired)
        self.missed = torch.where(spike, self.missed, torch.maximum(self.missed, before))
        self.v = v.double()

    def potential(self) -> Tensor:
        """V(0) of each neuron, in the dtype of `start`."""
        theta = self.threshold
        less = torch.maximum(theta, self.fired - (1 - BEYOND) * theta)
        more = torch.maximum(theta, (1 + BEYOND) * theta - self.missed)
        off = torch.where((self.v < 0) & self.fired.isfinite(), -less, torch.zeros_like(self.v))
        off = torch.where((self.v >= theta) & self.missed.isfinite(), more, off)
        found = self.start.double() + off
        return found.to(self.start.dtype) if self.start.is_floating_point() else found.round().to(self.start.dtype)
