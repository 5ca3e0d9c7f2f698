"""What spiking neurons of any library are, in one form that kernels run."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.convert.graph import Given
from fastsnn.convert.rules.call import Refusal, column, per_sample
from fastsnn.neurons import IF, Neuron, Synaptic
from fastsnn.windows import Shape

Number = float | Tensor


@dataclass(frozen=True)
class Spec:
    """Neurons of one layer.

        V = leak V + gain I + drift;   where V is at the threshold:   a spike, V -= threshold (soft) or V = 0 (hard)

    Numbers spread over an image's [C, *S] from the right, or are one a channel [C] where they are `per_channel`;
    `start` is V before the first step, `rules` has the leak. `origin` is what V is measured from in the library.
    Neurons that are `silent` never spike: they have a potential, and no threshold.
    """

    rules: Neuron
    threshold: Number = 1.0
    gain: Number = 1.0
    drift: Number = 0.0
    start: Number = 0.0
    worth: Number = 1.0
    per_channel: bool = False
    origin: Number = 0.0
    silent: bool = False

    def given(self, shape: Shape) -> Given:
        """The same for neurons of a logical shape (C, *S). Raises `Refusal` where numbers do not spread over it."""
        numbers = [_plain(n) for n in self._numbers]
        if self.per_channel:
            numbers = [column(n, len(shape) - 1) if n.ndim else n for n in numbers]
        try:
            threshold, gain, drift, start, worth, origin = (per_sample(n, shape) for n in numbers)
        except RuntimeError as error:
            raise Refusal(f"its numbers do not spread over neurons of shape {list(shape)}") from error
        if not bool((threshold > 0).all()):
            raise Refusal("its threshold is not above where its potential is reset to")
        if not bool((gain > 0).all()):
            raise Refusal("its input has no weight")
        return Given(self.rules, threshold, gain, drift, start, worth, origin)

    @property
    def _numbers(self) -> tuple[Number, ...]:
        return (self.threshold, self.gain, self.drift, self.start, self.worth, self.origin)


@dataclass(frozen=True)
class Seen:
    """What a library's module is.

    spec       of neurons that kernels run; None of other modules
    stays      of neurons, or of layers with a state, that kernels do not run: why
    instead    a module without a state that does the same in one step
    pair       it returns its output and its state, which is none of `shows`, and is given its state
    shows      tensors of its state that it returns beside its spikes, see `fastsnn.program.potential.SHOWN`
    handed     those are arguments of its next call, too: the network keeps them
    readout    it returns its potential in place of spikes
    """

    spec: Spec | None = None
    stays: str = ""
    instead: nn.Module | None = field(default=None, compare=False)
    pair: bool = False
    shows: tuple[str, ...] = ()
    handed: bool = False
    readout: bool = False


def leaky(
    leak: Number,
    threshold: Number,
    *,
    comparator: str,
    hard: Number | None = None,
    taken: Number | None = None,
    gain: Number = 1.0,
    drift: Number = 0.0,
    start: Number = 0.0,
    worth: Number = 1.0,
    synapse: Number | None = None,
) -> Spec:
    """A neuron whose potential is measured from another point, so that it is reset to 0 or by its threshold.

    hard     what the potential is reset to; None: a spike takes `taken` from it, the threshold unless it is given
    synapse  share of the current that is kept, where it is a state of its own

    With U = V - c the rest stays as it is but for the threshold, which is lower by c, the start, too, and a drift of
    (leak - 1) c: for hard reset c is what V is reset to, for soft reset it is threshold - taken.
    """
    theta = _plain(threshold)
    kept = one(leak, "leak")
    origin = theta - _plain(taken) if hard is None and taken is not None else _plain(0.0 if hard is None else hard)
    reset = "soft" if hard is None else "hard"
    shifted = _plain(drift) + (kept - 1) * origin
    rules: Neuron = IF(reset, comparator, leak=kept)
    if synapse is not None:
        # what drifts does not go through the synapse
        beside = one(shifted / (theta - origin), "drift")
        rules = Synaptic(one(synapse, "synaptic constant"), reset, comparator, kept, beside)
        shifted = torch.zeros_like(shifted)
    return Spec(rules, theta - origin, gain, shifted, _plain(start) - origin, worth, origin=origin)


def integrator(leak: Number, **more: Any) -> Spec:
    """A leaky integrator, which never spikes; `more` as in `leaky`."""
    return replace(leaky(leak, 1.0, comparator=">", **more), silent=True)


def one(value: Number, what: str) -> float:
    """A number that all neurons share. Raises `Refusal` where they do not."""
    numbers = torch.unique(_plain(value))
    if numbers.numel() != 1:
        raise Refusal(f"its {what} differs from neuron to neuron")
    return float(numbers)


def _plain(value: Number) -> Tensor:
    return torch.as_tensor(value).detach().cpu().double()
