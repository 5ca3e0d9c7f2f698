"""LTB: thresholds that balance themselves layer by layer, and an output that is read late."""

from collections.abc import Mapping
from itertools import chain, repeat
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from fastsnn.convert.calibrate import batches
from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI
from fastsnn.program import Layer, NeuronLayer, Program
from fastsnn.program.axes import channels_last


class LTB(OPI):
    """Local threshold balancing: forward passes through the network with clipped ReLUs, whose bounds grow until few
    activations are clipped.

        theta_c = 0;   in each iteration   theta_c += 2 rate mean(max(z - theta_c, 0)),   over images and positions

    Neurons fire above the threshold (not at it) and start at theta/2. The first steps of the output are not read (see
    `fastsnn.reading`): as many as spikes need to get through all layers, the sum over layers of (theta - V(0)) /
    (largest mean activation of a channel). At least the last four are read.

    iterations   batches that thresholds grow over; the data is begun again where it has fewer
    rate         of the update
    delayed      False: all steps are read, from the first
    initial_potential, reset, comparator, seed   as in OPI; thresholds are those of channels

    Source: Bu, Li, Yu, CVPR 2025 (arXiv 2409.03368), "inference-scale complexity" conversion.
    """

    name = "ltb"
    rereads = True
    card = Card(
        title="thresholds that grow until few activations are clipped; late read-out",
        source="Bu, Li, Yu, CVPR 2025",
        passes="1, then `iterations` batches",
    )

    def __init__(self, iterations: int = 200, rate: float = 1.0, delayed: bool = True, **options: Any) -> None:
        given = {key: value for key, value in options.items() if value is not None}
        if given.pop("threshold", "balanced") != "balanced" or not given.pop("per_channel", True):
            raise ValueError("ltb finds its own thresholds, one a channel: it takes neither threshold nor per_channel")
        super().__init__(**{"comparator": ">"} | given)
        if not isinstance(iterations, int) or iterations < 1 or not 0 < rate <= 1:
            raise ValueError(
                f"ltb needs iterations of at least 1 and a rate above 0, at most 1, got {iterations} and {rate}"
            )
        self.iterations, self.rate, self.delayed = iterations, float(rate), bool(delayed)
        self.spec = "balanced"

    @property
    def options(self) -> dict[str, object]:
        more = {"iterations": self.iterations, "rate": self.rate, "delayed": self.delayed}
        return super().options | more

    @torch.inference_mode()
    def balance(
        self, bare: Program, data: Any, bounds: Mapping[str, Tensor | None], device: torch.device, progress: bool
    ) -> dict[str, Tensor]:
        """The thresholds of all layers, [C] each; an activation with a bound of its own keeps that."""
        thetas = {name: torch.zeros(layer.shape[-1], device=device) for name, layer in bare.neurons.items()}

        def watch(layer: Layer, out: Tensor) -> Tensor | None:
            if not isinstance(layer, NeuronLayer):
                return None
            theta = thetas[layer.name]
            excess = (out - theta).clamp(min=0).reshape(-1, len(theta)).mean(0)
            thetas[layer.name] = theta + 2 * self.rate * excess
            return torch.minimum(out, theta)

        stream = chain.from_iterable(batches(data) for _ in repeat(None))
        for _ in tqdm(range(self.iterations), desc="balance", unit="batch", disable=not progress):
            bare.dense(channels_last(next(stream).to(device, torch.float32)), clip=False, watch=watch)
        found = {name: theta.double().cpu() for name, theta in thetas.items()}
        return {name: self._usable(theta) if bounds[name] is None else bounds[name] for name, theta in found.items()}  # type: ignore[misc]

    def delay(self, units: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> int:
        """Steps that are not read, from thresholds and mean activations of channels, [C] each in the same unit."""
        if not self.delayed or isinstance(self.start, str):
            return 0
        total = 0.0
        for name, mean in means.items():
            most = int(mean.argmax())
            theta = units[name].expand(len(mean))[most].item()
            if mean[most] > 0:
                total += theta * (1 - self.start) / mean[most].item()
        return round(total)

    @staticmethod
    def _usable(theta: Tensor) -> Tensor:
        """A channel that never was active has no threshold of its own: it gets the layer's largest."""
        top = theta.max() if theta.max() > 0 else torch.ones(())
        return torch.where(theta > top / 1024, theta, top.to(theta))
