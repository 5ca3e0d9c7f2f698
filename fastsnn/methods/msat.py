"""MSAT: thresholds that follow what a neuron has left over and what it receives."""

from collections.abc import Callable
from dataclasses import asdict

from torch import Tensor

from fastsnn.convert.statistics import Activation
from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI
from fastsnn.methods.several import Several
from fastsnn.neurons import Adaptive


class MSAT(Several):
    """Multi-stage adaptive thresholds: above its mean potential a neuron's threshold grows, and with it what a spike is
    worth; a large current lowers it. From V(0) = 0, with theta at the first step: see `fastsnn.neurons.Adaptive`.

    a, ka, ki, c, tau_mp, tau_rd   the authors' constants, of VGG-16 if they are not given; of ResNet-20 they are
                                   0.3, 1, 1, 5, 0.2, 0.1. tau_mp=0 or tau_rd=0 leaves out one of the two parts
    threshold, per_channel, seed   as in OPI, for theta; "max" if it is not given. The authors have one a layer
    initial_potential              as in OPI, in units of theta; 0 if it is not given

    Precision "float32" or "float64" only. Sums are PyTorch, all steps as one batch; neurons are one call of
    `fastsnn.ops.adaptive`. A layer's `thresholds` are of theta / 256, the unit that spikes are counted in.

    Source: He et al., 2023 (MSAT), from the authors' code in BrainCog (msat_conversion), not verified against the
    paper. Their code beside the paper has the same equations in units of activations, so that with a theta other than
    1 its constants mean something else. Left out: the dropping at random of spikes of low confidence.
    """

    name = "msat"
    neuron: Adaptive
    about = Card(
        title="thresholds that follow potential and current: spikes worth as much as their threshold",
        source="He et al., 2023 (the authors' code; not verified against the paper)",
        state="v, mean of v",
        verified="equal to its equations written out, in float64 (tests)",
    )

    def __init__(
        self,
        a: float = 0.03,
        ka: float = 1.0,
        ki: float = 1.0,
        c: float = 5.0,
        tau_mp: float = 1.0,
        tau_rd: float = 1.0,
        threshold: str | None = None,
        per_channel: bool = True,
        initial_potential: float | str | None = None,
        seed: int = 0,
    ) -> None:
        start = 0.0 if initial_potential is None else initial_potential
        super().__init__(Adaptive(a, ka, ki, c, tau_mp, tau_rd), threshold or "max", per_channel, start, seed)

    def threshold(self, activation: Activation, bound: Tensor | None, timesteps: int) -> Tensor:
        # a neuron emits once a step, and not any multiple of the unit
        return OPI.threshold(self, activation, bound, timesteps) / self.neuron.units

    def initial_potential(self, shape: tuple[int, ...], error: Callable[[float], float]) -> Tensor | float:
        units = self.neuron.units
        return units * super().initial_potential(shape, lambda start: error(units * start))

    @property
    def options(self) -> dict[str, object]:
        return super().options | asdict(self.neuron)
