"""Whether spikes in float32 are right: each against the exact potential that the spikes before it leave.

The currents of a layer are computed in float64 from the spikes that the network itself gave to it, and so are its
potentials from the spikes that it fired. In float32, sums of n products err by at most n u times the sum of their
magnitudes (u = 2^-24, in any order), and each step of a potential by a few u. Where the exact potential is further from
the threshold than that, the spike is known, and one that differs is wrong. Nothing is passed on from layer to layer, so
that the bound stays as narrow in the last layer as in the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from checks import WrongResult
from torch import Tensor, fx, nn

from peers.neurons import START
from peers.unit import unit

U = 2.0**-24
# roundings of weights: batch norm, two thresholds, and where a peer scales spikes and currents itself
FOLDED = 8
BOUND = (
    "each spike equals that of the exact potential wherever this is further from the threshold than float32 can err: "
    "u = 2^-24 times the number of terms times the sum of their magnitudes, added up over the steps"
)


@dataclass(frozen=True)
class Deviation:
    """Shares of all spikes and pauses that were looked at.

    near     where the bound does not decide
    differs  of those, where float32 decided otherwise than exact numbers
    """

    near: float
    differs: float


class Replay(nn.Module):
    """Keeps what comes in and gives out spikes that are known."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return self.spikes


@torch.inference_mode()
def judged(
    model: nn.Module, thresholds: Sequence[Tensor], x: Tensor, spikes: Sequence[Tensor], steps: int, whose: str
) -> Deviation:
    """How far spikes are from the exact ones. Raises WrongResult where one is wrong.

    model   in float64
    x       images, [B, C, *S]
    spikes  of each layer in order of execution, [T, B, *N] bool
    steps   that are looked at, from the first one
    """
    exact = unit(model, thresholds, lambda i: Replay())
    sizes = unit(model, thresholds, lambda i: Replay())
    for half in (sizes.stem, sizes.body):
        for tensor in (*half.parameters(), *half.buffers()):
            tensor.abs_()
    for made in (exact, sizes):
        for replay, train in zip(_replays(made.body), spikes, strict=True):
            replay.spikes = train[:steps].flatten(0, 1).double()
    exact.body(exact.stem(x.double()))
    sizes.body(sizes.stem(x.double().abs()))
    near = differs = total = 0
    for i, (a, b, n) in enumerate(zip(_replays(exact.body), _replays(sizes.body), exact.terms, strict=True)):
        train = spikes[i][:steps]
        current, size = a.seen, b.seen
        if i:
            current, size = current.unflatten(0, train.shape[:2]), size.unflatten(0, train.shape[:2])
        else:
            current, size = current.expand(train.shape), size.expand(train.shape)
        v, error = torch.full_like(current[0], START), torch.zeros_like(size[0])
        wrong = 0
        for now, fired, magnitude in zip(current, train, size, strict=True):
            error += U * ((n + FOLDED) * magnitude + 4 * (v.abs() + 1))
            v += now
            should = v >= 1
            close = (v - 1).abs() <= error
            off = fired != should
            wrong += int((off & ~close).sum())
            near += int(close.sum())
            differs += int((off & close).sum())
            total += off.numel()
            v -= fired.double()
        if wrong:
            raise WrongResult(f"{whose}: {wrong} of {train.numel()} spikes and pauses of layer {i} are wrong")
    return Deviation(near / total, differs / total)


def _replays(net: fx.GraphModule) -> list[Replay]:
    return [m for m in net.modules() if isinstance(m, Replay)]
