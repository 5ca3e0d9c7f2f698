"""How far spikes are from the activations that a network is trained with, which is the noise to train with."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.train.activation import BoundedReLU, activations


class _Neuron:
    """One call of an activation: IF with soft reset, whose spikes are `bound` high, beside what the activation gave."""

    def __init__(self, activation: BoundedReLU, dense: Tensor) -> None:
        self.bound, self.dense = activation.bound, dense
        shift = activation.shift
        self.shift = 0.0 if shift is None else self.bound / (2 * shift)
        self.potential = torch.zeros_like(dense) if shift else torch.zeros_like(dense) + self.bound / 2
        self.spikes = torch.zeros_like(dense)

    def step(self, current: Tensor) -> Tensor:
        self.potential += current + self.shift
        fired = (self.potential >= self.bound).to(current.dtype) * self.bound
        self.potential -= fired
        self.spikes += fired
        return fired


@torch.inference_mode()
def residual(model: nn.Module, images: Tensor, T: int) -> list[float]:
    """How far the rates of each layer's neurons are from its activations: a standard deviation, in bounds.

    The network is run as it is, and then as a spiking one for T steps, V(0) = theta/2: what a layer's rates differ by
    is what its neurons round, fire unevenly, and pass on from the layers before. The deviation is over all neurons and
    images.

    model   prepared; in eval mode while it is looked at, and left in the mode that it was in
    images  [B, *], as the model takes them
    T       time-steps, at least 1

    Returns one number for each `BoundedReLU`, in the order of `model.modules()`; 0 for one that is not called.
    Source: Huang et al., arXiv 2404.17456, who estimate the noise to train with from this gap.
    """
    if T < 1:
        raise ValueError(f"residual: T must be at least 1, got {T}")
    found = activations(model)
    neurons: list[list[_Neuron]] = [[] for _ in found]
    calls = [0] * len(found)

    def spiking(at: int) -> Callable[..., Tensor | None]:
        def hook(module: Any, args: tuple[Tensor], output: Tensor) -> Tensor | None:
            if dense:
                neurons[at].append(_Neuron(found[at], output))
                return None
            calls[at] += 1
            return neurons[at][calls[at] - 1].step(args[0])

        return hook

    training, dense = model.training, True
    hooks = [activation.register_forward_hook(spiking(at)) for at, activation in enumerate(found)]
    try:
        model.eval()(images)
        dense = False
        for _ in range(T):
            calls[:] = [0] * len(calls)
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    return [_deviation(mine, T) for mine in neurons]


def measure(model: nn.Module, images: Tensor, T: int) -> None:
    """Sets the noise of each activation to its `residual`."""
    for activation, noise in zip(activations(model), residual(model, images, T), strict=True):
        activation.noise.fill_(noise)


def _deviation(neurons: list[_Neuron], T: int) -> float:
    errors = [(n.spikes / T - n.dense).flatten() / n.bound for n in neurons]
    return torch.cat(errors).std(correction=0).item() if errors else 0.0
