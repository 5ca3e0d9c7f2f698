"""What V(0) costs: the error that theory predicts of a neuron with constant input, and the one that is measured."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.methods.initial import GAUSSIAN_SPREAD
from fastsnn.network import SpikingNetwork
from fastsnn.train.activation import activations


def predicted(start: float | str) -> float:
    """Mean squared error of the rate after T steps, in units of (theta / T)^2, for a V(0) in thresholds.

    With V(0) = c theta and a constant input whose place between two counts is uniform, the error is uniform on
    [c - 1, c]: its variance is 1/12 and its mean c - 1/2. Bu et al., AAAI 2022, whose optimum c = 1/2 this is.
    """
    if start == "uniform":
        return 1 / 12 + 1 / 12
    if start == "gaussian":
        return 1 / 12 + GAUSSIAN_SPREAD**2
    return 1 / 12 + (float(start) - 0.5) ** 2


@torch.inference_mode()
def measured(
    model: nn.Module, snn: SpikingNetwork, batches: Iterable[tuple[Tensor, Any]], timesteps: int
) -> tuple[float, float]:
    """(error of the first spiking layer in units of (theta / T)^2, of the logits as a share of their variance).

    model   whose activations are `BoundedReLU`s, the first of them that layer's

    The first layer's input is constant. Only neurons whose input is between 0 and theta are counted: others have no
    error but what their bound says.
    """
    activation = activations(model)[0]
    seen: list[Tensor] = []
    hook = activation.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    error = count = wrong = spread = 0.0
    try:
        for images, _ in batches:
            seen.clear()
            dense = model(images)
            wanted = seen[0] * (timesteps / activation.bound)
            spikes = next(iter(snn.spikes(images, timesteps).values())).counts()
            # neurons are channels last
            found = torch.movedim(spikes, -1, 1).to(wanted.dtype)
            inside = (wanted > 0) & (wanted < timesteps)
            error += ((found - wanted)[inside].double() ** 2).sum().item()
            count += inside.sum().item()
            wrong += ((snn(images, timesteps) - dense).double() ** 2).sum().item()
            spread += ((dense - dense.mean(1, keepdim=True)).double() ** 2).sum().item()
    finally:
        hook.remove()
    if not count or not spread:
        raise ValueError("the first layer has no neuron between 0 and its bound, or all logits are the same")
    return error / count, wrong / spread
