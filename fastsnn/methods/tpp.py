"""TPP: every neuron fires at random, with the probability that uses up the sum of its input over the steps left."""

from typing import Any

from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI
from fastsnn.neurons import IF


class TPP(OPI):
    """Probabilistic neurons that see all T steps of their input before they fire.

        V = V(0) + sum over all steps of I
        in step t:   p = clip(V / (theta (T - t + 1)), 0, 1);   V -= theta where it fires

    Spikes are drawn by a hash of seed, neuron and step: the same batch gives the same spikes, on any device; an image
    in another place of a batch draws other numbers. V(0) is 0. At most 32 steps; not in int16.

    threshold, per_channel, initial_potential, seed   as in OPI

    Source: Bojkovic, Wu, Gu, ICML 2025; the formula as recalled, not from the paper.
    """

    name = "tpp"
    card = Card(
        title="spikes at random, as likely as the input that is left asks for",
        source="Bojkovic, Wu, Gu, ICML 2025 (formula as recalled)",
        causal=False,
    )

    def __init__(self, **options: Any) -> None:
        given = {key: value for key, value in options.items() if value is not None}
        super().__init__(**{"initial_potential": 0.0} | given)
        self.neuron = IF(self.neuron.reset, self.neuron.comparator, "random", self.seed)
