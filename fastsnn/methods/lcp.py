"""SNNC light: the mean of every channel is brought back to the dense network's, layer after layer."""

from fastsnn.convert.refine import Correction, Refinement
from fastsnn.methods.card import Card
from fastsnn.methods.opi import OPI


class LCP(OPI):
    """OPI's neurons, with the bias of each channel corrected by how far its mean spikes are from the dense mean.

        b_c += mean(dense activation) / theta - mean(spikes) / T,   over images and positions, layers in order

    threshold, per_channel, initial_potential, reset, comparator, seed   as in OPI

    Source: Li, Deng, Dong, Gong, Gu, ICML 2021 (SNNC, light pipeline), with V(0) = theta/2 in place of its shift of
    theta / (2 T) a step.
    """

    name = "lcp"
    rereads = True
    card = Card(
        title="bias of each channel corrected by the error of its mean",
        source="Li et al., ICML 2021 (SNNC, light)",
        passes="L + 2",
    )

    def correct(self, given: Refinement, name: str) -> Correction:
        """From one pass through the layers up to this one."""
        error = given.means(name) - given.rates(name)
        return Correction(shift=error.reshape(-1, error.shape[-1]).mean(0))
