"""What calibration remembers of an activation: per channel a count, the largest value, and a histogram that grows.

One pass over any stream, bounded memory: when a larger value comes, neighbouring bins merge and the range doubles.
"""

import torch
from torch import Tensor

BINS = 2048


class Activation:
    """Statistics of one activation [N, *S, C], channel by channel.

    count    values seen for each channel
    largest  [C] largest value
    counts   [C, BINS] values in (0, top]; zeros are `count` less all of these
    top      upper edge of the last bin, one for all channels of a scale
    """

    def __init__(self) -> None:
        self.count = 0
        self.largest = torch.zeros(0)
        self.counts = torch.zeros(0, BINS, dtype=torch.float64)
        self.top = torch.zeros(0)

    def update(self, values: Tensor) -> None:
        """Adds activations [N, *S, C], all finite and at least 0."""
        flat = values.reshape(-1, values.shape[-1]).float()
        if flat.shape[0] == 0:
            return
        largest = flat.amax(0)
        if self.count == 0:
            channels = flat.shape[1]
            self.largest = torch.zeros(channels, device=flat.device)
            self.counts = torch.zeros(channels, BINS, dtype=torch.float64, device=flat.device)
            self.top = torch.zeros(channels, device=flat.device)
        self._grow(largest)
        self.count += flat.shape[0]
        self.largest = torch.maximum(self.largest, largest)
        width = torch.where(self.top > 0, self.top, 1.0) / BINS
        bins = (flat / width).ceil_().clamp_(0, BINS).to(torch.int64) - 1
        index = bins + torch.arange(flat.shape[1], device=flat.device) * BINS
        seen = torch.bincount(index[bins >= 0], minlength=self.counts.numel())
        self.counts += seen.reshape(self.counts.shape)

    def _grow(self, largest: Tensor) -> None:
        """Doubles the range of each channel until its largest value fits."""
        fresh = (self.top == 0) & (largest > 0)
        self.top = torch.where(fresh, largest, self.top)
        while bool((short := self.top < largest).any()):
            merged = self.counts[short].reshape(-1, BINS // 2, 2).sum(2)
            self.counts[short] = torch.cat([merged, torch.zeros_like(merged)], dim=1)
            self.top = torch.where(short, self.top * 2, self.top)

    def pooled(self) -> "Activation":
        """The statistics of all channels as one."""
        whole = Activation()
        channels = len(self.largest)
        whole.count = self.count * channels
        whole.largest = self.largest.max(dim=0, keepdim=True).values
        whole.top = self.top.max(dim=0, keepdim=True).values
        centres = self.centres().flatten()
        width = torch.where(whole.top > 0, whole.top, 1.0) / BINS
        index = (centres / width).ceil().clamp(1, BINS).to(torch.int64) - 1
        whole.counts = torch.zeros(1, BINS, dtype=torch.float64, device=self.counts.device)
        whole.counts.view(-1).index_add_(0, index, self.counts.flatten())
        return whole

    def centres(self) -> Tensor:
        """[C, BINS] middle of each bin."""
        steps = torch.arange(BINS, device=self.top.device) + 0.5
        return self.top[:, None] * steps / BINS

    def mean(self) -> Tensor:
        """[C] mean of all values, zeros included, to within half a bin each."""
        return (self.centres() * self.counts).sum(1) / max(self.count, 1)

    def percentile(self, percent: float) -> Tensor:
        """[C] value that `percent` of all values, zeros included, do not exceed; linear inside a bin."""
        below = (self.count - self.counts.sum(1, keepdim=True)) + self.counts.cumsum(1)
        wanted = self.count * percent / 100
        bin_ = (below < wanted).sum(1).clamp(max=BINS - 1)
        inside = self.counts.gather(1, bin_[:, None])[:, 0]
        excess = below.gather(1, bin_[:, None])[:, 0] - wanted
        part = torch.where(inside > 0, 1 - excess / inside.clamp(min=1), 1.0).clamp(0, 1)
        return torch.minimum((bin_ + part) * self.top / BINS, self.largest)
