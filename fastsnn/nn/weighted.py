"""Linear maps, convolutions and pools with the neurons that they feed: one fused call where spikes are packed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.nn.neurons import IF
from fastsnn.nn.sequence import require
from fastsnn.nn.state import Stateful, require_shape
from fastsnn.ops.conv_if import conv_if
from fastsnn.ops.linear_if import linear_if
from fastsnn.spikes import SpikeTrain, chunk_lengths


class Weighted(Stateful):
    """A linear map and the neurons that it feeds.

    Called with a sequence of numbers [T, B, C, *S] it gives spikes [T, B, C', *S'], and with a `SpikeTrain` of neurons
    [B, *S, C] a `SpikeTrain` [B, *S', C'], by one kernel for all steps. Both are the same spikes but where the rounding
    of a sum decides. It goes on from the call before: see `fastsnn.nn.Stateful`. No gradients.

    linear    the map, with the parameters
    neurons   `IF` or `LIF`, with the thresholds
    """

    # dimensions of an image, [C, *S]
    dims = 1

    def __init__(self, linear: nn.Module, neurons: IF | None) -> None:
        super().__init__()
        if neurons is not None and not isinstance(neurons, IF):
            raise TypeError(
                f"{type(self).__name__}: neurons must be fastsnn.nn.IF or LIF, got {type(neurons).__name__}"
            )
        self.linear, self.neurons = linear, neurons or IF()

    @torch.no_grad()
    def run(self, x: Any, state: Tensor | None = None) -> tuple[Any, Tensor]:
        if isinstance(x, SpikeTrain):
            return self._packed(x, state)
        require(type(self).__name__, x, self.dims)
        return self.neurons.run(self.linear(x.flatten(0, 1)).unflatten(0, x.shape[:2]), state)

    def fused(self, channels: int) -> tuple[Callable[..., tuple[Tensor, Tensor]], Tensor, dict[str, Any]]:
        """(the operator, its weight, its other arguments) for spikes of so many channels."""
        raise NotImplementedError

    def _packed(self, x: SpikeTrain, state: Tensor | None) -> tuple[SpikeTrain, Tensor]:
        if x.planes != 1 or len(x.shape) != self.dims + 1:
            raise ValueError(
                f"{type(self).__name__} takes a SpikeTrain of one plane and {self.dims + 1} dimensions [B, *S, C], "
                f"got {x.planes} of {list(x.shape)}"
            )
        operator, weight, options = self.fused(x.shape[-1])
        v = self.neurons.start(weight.dtype) if state is None else state
        if state is not None:
            require_shape(type(self).__name__, state, (x.shape[0], *state.shape[1:]))
        theta, found = self.neurons.threshold.to(weight.dtype), []
        for words, T in zip(x.words, chunk_lengths(x.T), strict=True):
            out, v = operator([words[0]], [weight], T, theta, v, neuron=self.neurons.rules, **options)
            found.append(out[None])
        return SpikeTrain(tuple(found), x.T), v


class LinearIF(Weighted):
    """torch.nn.Linear and the neurons [B, F] that it feeds, `IF()` unless others are given; see `Weighted`."""

    linear: nn.Linear

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, neurons: IF | None = None) -> None:
        super().__init__(nn.Linear(in_features, out_features, bias), neurons)

    def fused(self, channels: int) -> tuple[Callable[..., tuple[Tensor, Tensor]], Tensor, dict[str, Any]]:
        return linear_if, self.linear.weight, {"bias": self.linear.bias}


class _ConvIF(Weighted):
    linear: nn.Conv1d | nn.Conv2d

    def __init__(self, conv: nn.Conv1d | nn.Conv2d, neurons: IF | None) -> None:
        super().__init__(conv, neurons)
        if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
            raise ValueError(
                f"{type(self).__name__}: padding must be a number of zeros, got {conv.padding!r} of {conv.padding_mode}"
            )

    def fused(self, channels: int) -> tuple[Callable[..., tuple[Tensor, Tensor]], Tensor, dict[str, Any]]:
        conv = self.linear
        geometry = {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation, "groups": [conv.groups]}
        return conv_if, conv.weight, geometry | {"bias": conv.bias}


class Conv1dIF(_ConvIF):
    """torch.nn.Conv1d and the neurons [B, C, L] that it feeds; options as there, and `neurons`, see `Weighted`."""

    dims = 2

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, *, neurons: IF | None = None, **conv: Any
    ) -> None:
        super().__init__(nn.Conv1d(in_channels, out_channels, kernel_size, **conv), neurons)


class Conv2dIF(_ConvIF):
    """torch.nn.Conv2d and the neurons [B, C, H, W] that it feeds; options as there, and `neurons`, see `Weighted`."""

    dims = 3

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, *, neurons: IF | None = None, **conv: Any
    ) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel_size, **conv), neurons)


class SpikingAvgPool2d(Weighted):
    """Averages of windows and the neurons that they feed, one a window: spikes at the mean rate of the window.

    kernel_size, stride, padding   as in torch.nn.AvgPool2d; padding counts as silent neurons
    neurons                        see `Weighted`
    """

    linear: nn.AvgPool2d
    dims = 3

    def __init__(
        self, kernel_size: int, stride: int | None = None, padding: int = 0, *, neurons: IF | None = None
    ) -> None:
        super().__init__(nn.AvgPool2d(kernel_size, stride, padding), neurons)

    def fused(self, channels: int) -> tuple[Callable[..., tuple[Tensor, Tensor]], Tensor, dict[str, Any]]:
        pool = self.linear
        sizes = [torch.nn.modules.utils._pair(n) for n in (pool.kernel_size, pool.stride, pool.padding)]
        kernel, stride, padding = ([int(n) for n in size] for size in sizes)
        theta = self.neurons.threshold
        share = 1 / (kernel[0] * kernel[1])
        weight = torch.full((channels, 1, *kernel), share, dtype=theta.dtype, device=theta.device)
        return conv_if, weight, {"stride": stride, "padding": padding, "groups": [channels]}
