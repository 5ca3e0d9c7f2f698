"""Activations to train with for conversion: a ReLU with a trainable bound, quantised, with noise, or shifted."""

from typing import Any

import torch
from torch import Tensor, nn

# of the bound before training: Bu et al. start with it (QCFS 8, TCL 4)
INITIAL_BOUND = 8.0
# images of a batch whose noise is drawn; those after them have the same again. On a CPU a normal number costs more
# than all else that a layer does to an activation
DRAWN = 16


class _Floor(torch.autograd.Function):
    """floor(x), whose gradient passes as if it were x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.floor()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class BoundedReLU(nn.Module):
    """A ReLU with a trainable upper bound, which becomes the threshold of the spiking layer.

        y = clip(x + bound / (2 shift), 0, bound)                without `shift` y = clip(x, 0, bound)
        q = bound floor(levels y / bound + 1/2) / levels         gradients pass the floor
        out = slope y + (1 - slope) q + noise bound N(0, 1)      noise while training only

    bound    of all neurons of the layer before training, above 0
    levels   None: y alone (TCL, the recipe of OPI's lineage); L: QCFS
    slope    share of the clipped ReLU beside the quantised one (SlipReLU); needs levels
    noise    standard deviation in bounds (NQ); None: 0 until `fastsnn.train.measure` or a training sets it. Images of a
             batch that are 16 apart have the same noise
    shift    steps T whose half a step's error is trained in (RTS); the shift is then in the biases of the converted
             network, whose neurons start at 0: initial_potential=0

    Takes and gives floating tensors [B, *]. Converts as a clipped ReLU with that bound, whatever the options are
    (see `docs/methods.md`). Raises ValueError for options out of range.
    Source: Ho, Chang 2021 (TCL); Bu et al., ICLR 2022 (QCFS); Jiang et al. 2023 (SlipReLU); Huang et al.,
    arXiv 2404.17456 (NQ); Deng, Gu, ICLR 2021 (RTS).
    """

    def __init__(
        self,
        bound: float = INITIAL_BOUND,
        levels: int | None = None,
        slope: float = 0.0,
        noise: float | None = 0.0,
        shift: int | None = None,
    ) -> None:
        super().__init__()
        if not bound > 0:
            raise ValueError(f"BoundedReLU: bound must be above 0, got {bound}")
        for name, number in (("levels", levels), ("shift", shift)):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise ValueError(f"BoundedReLU: {name} must be a whole number of at least 1, or None, got {number!r}")
        if not 0 <= slope < 1 or (slope and levels is None):
            raise ValueError(
                f"BoundedReLU: slope is a share from 0 to below 1, and needs levels; got {slope}, {levels}"
            )
        if noise is not None and not noise >= 0:
            raise ValueError(f"BoundedReLU: noise must not be negative, got {noise}")
        self.bound = nn.Parameter(torch.tensor(float(bound)))
        self.levels, self.slope, self.shift, self.noisy = levels, slope, shift, noise is None or noise > 0
        # not a weight: a file of weights is for activations with noise and without
        self.register_buffer("noise", torch.tensor(noise or 0.0), persistent=False)
        self.noise: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.shift is not None:
            x = x + self.bound / (2 * self.shift)
        y = torch.minimum(torch.relu(x), self.bound)
        if self.levels is not None:
            quantised = _Floor.apply(y * (self.levels / self.bound) + 0.5) * (self.bound / self.levels)
            y = self.slope * y + (1 - self.slope) * quantised if self.slope else quantised
        if self.noisy and self.training:
            drawn = torch.randn_like(y[:DRAWN])
            again = drawn.repeat(-(-len(y) // DRAWN), *[1] * (y.ndim - 1))[: len(y)]
            y = y + (self.noise * self.bound).to(y.dtype) * again
        return y

    def extra_repr(self) -> str:
        noise = f"{self.noise.item():.3g}" if self.noisy else None
        options = {"levels": self.levels, "slope": self.slope, "noise": noise, "shift": self.shift}
        given = "".join(f", {name}={value}" for name, value in options.items() if value)
        return f"bound={self.bound.item():.4g}{given}"


def activations(model: nn.Module) -> list[BoundedReLU]:
    """The bounded activations of a network, in the order of `model.modules()`."""
    return [module for module in model.modules() if isinstance(module, BoundedReLU)]
