"""Recipes: all that decides how a network is trained for conversion, but the network, the images and the seed."""

import math
from dataclasses import dataclass

from fastsnn.train.activation import BoundedReLU

SCHEDULES = ("cosine", "one-cycle")
AUGMENTATIONS = ("crop", "flip", "autoaugment", "cutout")
# of one-cycle: where the rate begins, as a share of its peak, and after which share of all steps the peak is
BEGIN, PEAK = 1 / 25, 0.3


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    epochs, batch_size           an epoch leaves the last images of its order out where they fill no batch
    learning_rate, momentum      of SGD; the rate is the largest one
    weight_decay, bound_decay    of weights, and of bounds; norms and biases have none
    label_smoothing              share of the label that is spread over all classes
    schedule, warm_up            "cosine": the rate rises for `warm_up` epochs, then falls to 0 along half a cosine;
                                 "one-cycle": rises for 0.3 of all steps, then falls, both along half a cosine
    ema                          decay, a step, of a running mean of weights and statistics, which is then the result
    bound, levels, noise         of each `BoundedReLU`
    noise_steps                  T: instead, the noise of each layer is how far its rates in T steps are from its
                                 activations, on the first batch of each epoch (see `fastsnn.train.residual`)
    augment                      of "crop" (4 pixels of zeros around, then cut at random; with an image size: a random
                                 part, resized), "flip", "autoaugment" (CIFAR-10's policy) and "cutout"
    cutout                       side of its square, in pixels

    Raises ValueError for numbers out of range.
    """

    epochs: int = 300
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    bound_decay: float = 5e-4
    label_smoothing: float = 0.0
    schedule: str = "cosine"
    warm_up: int = 0
    ema: float | None = None
    bound: float = 8.0
    levels: int | None = None
    noise: float = 0.0
    noise_steps: int | None = None
    augment: tuple[str, ...] = AUGMENTATIONS
    cutout: int = 16

    def __post_init__(self) -> None:
        measured = () if self.noise_steps is None else (("noise_steps", 1),)
        for name, least in (("epochs", 1), ("batch_size", 1), ("warm_up", 0), ("cutout", 1), *measured):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ValueError(f"recipe: {name} must be a whole number of at least {least}, got {number!r}")
        for name in ("weight_decay", "bound_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"recipe: {name} must not be negative, got {getattr(self, name)}")
        for name in ("momentum", "label_smoothing", "ema"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < 1:
                raise ValueError(f"recipe: {name} must be from 0 to below 1, got {getattr(self, name)}")
        if self.noise_steps is not None and self.noise:
            raise ValueError(f"recipe: noise is measured where there are noise_steps, got {self.noise} as well")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"recipe: learning_rate must be above 0, got {self.learning_rate}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"recipe: schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.warm_up and (self.schedule != "cosine" or self.warm_up >= self.epochs):
            raise ValueError(
                f"recipe: warm_up is of the cosine schedule and shorter than the {self.epochs} epochs, "
                f"got {self.warm_up} with {self.schedule}"
            )
        odd = [name for name in self.augment if name not in AUGMENTATIONS]
        if odd:
            raise ValueError(f"recipe: augment takes {', '.join(AUGMENTATIONS)}, got {', '.join(map(repr, odd))}")
        # whose own checks are these
        self.activation()

    def activation(self) -> BoundedReLU:
        """A new one, for `prepare`."""
        return BoundedReLU(self.bound, self.levels, noise=None if self.noise_steps else self.noise)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0 over the whole training, of `steps` an epoch."""
        total, at = self.epochs * steps, self.warm_up * steps
        if self.schedule == "cosine":
            if step < at:
                return self.learning_rate * (step + 1) / at
            return self.learning_rate * _falling((step - at) / (total - at))
        top = PEAK * total
        if step < top:
            return self.learning_rate * (1 - (1 - BEGIN) * _falling(step / top))
        return self.learning_rate * _falling((step - top) / (total - top))


RECIPES = {
    "opi": Recipe(bound=4.0),
    "qcfs": Recipe(levels=4),
    "nq": Recipe(levels=4, noise_steps=4),
}
"""Starting points; `dataclasses.replace` changes them. For CIFAR-100 the sources take a learning rate of 0.02.

opi    clipped ReLU with a trained bound that starts at 4: Ho, Chang, DAC 2021 (TCL), as in the code that OPI's authors
       published with QCFS; whether OPI itself trained so, sources disagree on
qcfs   4 levels, bound that starts at 8: Bu et al., ICLR 2022, whose other numbers (SGD, 300 epochs of batches of 128,
       cosine to 0, decay 5e-4, crop, flip, AutoAugment, Cutout of 16 pixels) all three share
nq     the same with noise, as much as each layer's rates in four steps differ from its activations: Huang et al.,
       arXiv 2404.17456, who estimate it from the gap between the network and its spiking form
"""


def _falling(share: float) -> float:
    """1 at 0, 0 at 1, half a cosine between."""
    return (1 + math.cos(math.pi * share)) / 2
