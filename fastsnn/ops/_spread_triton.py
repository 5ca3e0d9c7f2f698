"""Values that spread over the neurons [B, *S, O] of a layer, as its kernels in Triton take them."""

from torch import Tensor

from fastsnn.firing import Firing
from fastsnn.ops._step import goes_on


def spread(values: Tensor, shape: tuple[int, ...], steps: tuple[int, ...] = ()) -> tuple[Tensor, str]:
    """Values as numbers for each channel, each neuron of an image, or of all images.

    steps  (T,): so many of them, one for each step
    """
    size = values.shape[len(steps) :]
    while size and size[0] == 1:
        size = size[1:]
    if len(size) <= 1:
        return values.reshape((*steps, -1)).expand((*steps, shape[-1])).contiguous(), "channel"
    per, over = ("image", shape[1:]) if len(size) < len(shape) else ("all", (size[0], *shape[1:]))
    values = values.reshape((*steps, *[1] * (len(over) - len(size)), *size))
    return values.expand((*steps, *over)).contiguous(), per


def spread_bias(bias: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, str, bool]:
    """The same of a bias, and whether every step has its own."""
    if bias.ndim <= len(shape):
        return *spread(bias, shape), False
    if bias.shape[0] == 1:
        return *spread(bias[0], shape), False
    return *spread(bias, shape, tuple(bias.shape[:1])), True


def spread_start(v: Tensor, shape: tuple[int, ...], firing: Firing, whole: bool = False) -> tuple[Tensor, str]:
    """The same of what neurons begin with: "state" where that is potentials and counts [2, B, *S, O].

    whole  over all neurons, whatever it spreads over
    """
    if goes_on(firing, v, shape):
        return v.contiguous(), "state"
    return (v.expand(shape).contiguous(), "all") if whole else spread(v, shape)
