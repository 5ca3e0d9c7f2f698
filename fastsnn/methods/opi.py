"""OPI: optimized potential initialization, V(0) = theta/2, and its ablations."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fastsnn.convert.statistics import Activation
from fastsnn.errors import ConversionError
from fastsnn.methods import initial, thresholds
from fastsnn.methods.card import Card
from fastsnn.neurons import IF


class OPI:
    """Soft-reset IF neurons that start at half their threshold: zero expected conversion error.

    threshold          "max", "percentile:99.9", "mse" (least squares for the given T) or "bound"; an activation that
                       has a bound of its own (ReLU6, clamp(0, a)) always gets that as its threshold
    per_channel        one threshold a channel, or one a layer
    initial_potential  in units of the threshold: 0.5 is the paper's theta/2, 0 its baseline; or "uniform", "gaussian",
                       "measured"
    reset, comparator  see `fastsnn.neurons.IF`
    seed               of the random initial potentials

    Source: Bu, Ding, Yu, Huang, AAAI 2022, arXiv 2202.01440.
    """

    name = "opi"
    card = Card(
        title="soft-reset IF from theta/2: no expected conversion error",
        source="Bu, Ding, Yu, Huang, AAAI 2022",
        verified="ResNet-20, CIFAR-10: with percentile thresholds within a standard error of SpikingJelly 2.0.0",
    )

    def __init__(
        self,
        threshold: str | None = None,
        per_channel: bool = True,
        initial_potential: float | str | None = None,
        reset: str = "soft",
        comparator: str = ">=",
        seed: int = 0,
    ) -> None:
        self.spec = threshold or "mse"
        self.rule = thresholds.parse(self.spec)
        self.per_channel = per_channel
        self.start = initial.check(0.5 if initial_potential is None else initial_potential)
        self.neuron = IF(reset, comparator)
        if not isinstance(seed, int):
            raise ValueError(f"seed must be an integer, got {seed!r}")
        self.seed = seed
        self.layers = 0

    def check(self, bounds: Mapping[str, Tensor | None]) -> None:
        self.layers = 0
        plain = [name for name, bound in bounds.items() if bound is None]
        if self.spec == "bound" and plain:
            raise ConversionError(
                'threshold="bound" needs bounded activations (ReLU6, Hardtanh(0, a), clamp(0, a)); these have none: '
                + ", ".join(plain)
            )

    def threshold(self, activation: Activation, bound: Tensor | None, timesteps: int) -> Tensor:
        if bound is not None:
            return bound
        activation = activation if self.per_channel else activation.pooled()
        theta = thresholds.positive(self.rule(activation, timesteps).double(), activation.largest.double())
        return theta if self.per_channel else theta[0]

    def initial_potential(self, shape: tuple[int, ...], error: Callable[[float], float]) -> Tensor | float:
        # one stream of random numbers a layer, the same in every conversion
        generator = torch.Generator().manual_seed(self.seed + self.layers)
        self.layers += 1
        return initial.potential(self.start, shape, generator, error)

    @property
    def options(self) -> dict[str, object]:
        """What builds the same method again."""
        return {
            "threshold": self.spec,
            "per_channel": self.per_channel,
            "initial_potential": self.start,
            "reset": self.neuron.reset,
            "comparator": self.neuron.comparator,
            "seed": self.seed,
        }

    def __repr__(self) -> str:
        kind = "channel" if self.per_channel else "layer"
        return f"{self.name}(threshold={self.spec} per {kind}, initial potential={self.start})"
