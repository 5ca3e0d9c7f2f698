"""SNNC advanced, its potentials: the mean of every neuron is brought back to the dense network's by its V(0)."""

from fastsnn.convert.refine import Correction, Refinement
from fastsnn.methods.card import Card
from fastsnn.methods.initial import LARGEST
from fastsnn.methods.opi import OPI


class ACP(OPI):
    """OPI's neurons, with the initial potential of each neuron corrected by how far its mean spikes are from the dense.

        V(0) += theta T (mean(dense activation) / theta - mean(spikes) / T),   over images, layers in order

    V(0) stays within 16 thresholds of 0. The source also trains the weights of each layer, which needs gradients and
    is not done here.

    threshold, per_channel, initial_potential, reset, comparator, seed   as in OPI

    Source: Li, Deng, Dong, Gong, Gu, ICML 2021 (SNNC, advanced pipeline), its membrane potentials.
    """

    name = "acp"
    rereads = True
    card = Card(
        title="V(0) of each neuron corrected by the error of its mean",
        source="Li et al., ICML 2021 (SNNC, advanced, without training weights)",
        passes="L + 2",
    )

    def correct(self, given: Refinement, name: str) -> Correction:
        """From one pass through the layers up to this one."""
        layer = given.program.neurons[name]
        start = layer.initial_potential + given.T * (given.means(name) - given.rates(name))
        return Correction(initial_potential=start.clamp(-LARGEST, LARGEST))
