"""Whether a result is right: asked before any time is taken, because a wrong result gets no number."""

from collections.abc import Sequence

import networks
import torch
from baselines import Steps
from torch import Tensor

from fastsnn import SpikingNetwork, _env
from fastsnn.spikes import SpikeTrain


class WrongResult(Exception):
    """A network that was to be timed computes something else than it should."""


def exact(
    snn: SpikingNetwork,
    x: Tensor,
    run: Tensor,
    spikes: dict[str, SpikeTrain],
    pick: Sequence[int],
    steps: int | None = None,
) -> None:
    """Spikes and logits of a run on x are those of the reference operators, which define them.

    run, spikes  logits and spike trains of snn on the whole batch x
    pick         images of x that the reference is run on, by themselves: batches must not matter either
    steps        of the run; None: as many as the network's calls have
    """
    few = list(pick)
    before = _env.BACKEND
    try:
        _env.BACKEND = "reference"
        want, logits = snn.spikes(x[few], steps), snn(x[few], steps)
    finally:
        _env.BACKEND = before
    for name, train in want.items():
        for got, chunk in zip(spikes[name].words, train.words, strict=True):
            wrong = int((got[:, few] != chunk).sum())
            if wrong:
                raise WrongResult(
                    f"{snn.precision}: {wrong} of {chunk.numel()} words of {name} are not the reference's"
                )
    # the head is one float32 product: a sum of n terms in another order is off by at most n roundings
    near(run[few], logits, 1e-5 * logits.abs().max().item(), f"{snn.precision}: logits and the reference's")


def same_spikes(snn: SpikingNetwork, steps: Steps, x: Tensor) -> None:
    """A float64 network and its float64 simulation fire equally often in every neuron.

    Both round at 2^-53 and the spikes of the two differ only where a potential is that near its threshold, which real
    numbers are not: the counts have to be equal, and the logits to within their own rounding.
    """
    logits, counts = steps.counted(x)
    for (name, train), count in zip(snn.spikes(x).items(), counts, strict=True):
        wrong = int((train.counts() != (count.movedim(1, -1) if count.ndim > 2 else count)).sum())
        if wrong:
            raise WrongResult(f"{wrong} of {count.numel()} neurons of {name} fire as often as in no simulation")
    near(snn(x), logits, 1e-9 * logits.abs().max().item(), "logits of float64 and of its simulation")


def near(got: Tensor, want: Tensor, allowed: float, what: str) -> float:
    """Mean absolute difference, which must not exceed `allowed`; NaN never passes."""
    drift = (got.double() - want.double()).abs().mean().item()
    if not drift <= allowed:
        raise WrongResult(f"{what} differ by {drift:.3g} on average, more than {allowed:.3g}")
    return drift


def agreement(got: Tensor, want: Tensor) -> float:
    """Share of images with the same largest logit."""
    return (got.argmax(1) == want.argmax(1)).double().mean().item()


def same_rates(got: dict[str, SpikeTrain], want: dict[str, SpikeTrain], allowed: float = 0.05) -> None:
    """The firing rate of every layer to within a share `allowed`: what stays alike where single spikes do not."""
    for name, train in want.items():
        a, b = got[name].firing_rate(), train.firing_rate()
        if not abs(a - b) <= allowed * b + 1e-3:
            raise WrongResult(f"{name} fires in {a:.2%} of the steps instead of {b:.2%}")


def mean_rate(spikes: dict[str, SpikeTrain]) -> float:
    """Mean over the layers of the share of steps in which a neuron fires."""
    return torch.tensor([train.firing_rate() for train in spikes.values()]).mean().item()


def usual_rate(name: str, T: int, rate: float) -> None:
    """Networks with random weights fire as often as was said of them. Raises WrongResult."""
    least, most = networks.RATES
    if T == networks.RATED_T and name in networks.BIAS and not least <= rate <= most:
        raise WrongResult(f"{name} was to fire in {least:.0%} to {most:.0%} of the steps, not in {rate:.1%}")
