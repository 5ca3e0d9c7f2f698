"""The kinds of layer a lowered network has, and what each computes from its sources."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from fastsnn.neurons import Neuron
from fastsnn.program.terms import Term, total_of
from fastsnn.windows import Pooling, Shape, largest, window_index


class Layer(nn.Module):
    """One step of the program.

    name     the module path it comes from
    shape    of its result without the batch, channels last
    spiking  whether its result is a word a neuron, or a number
    folded   the graph nodes that it stands for
    """

    spiking = False
    # what a spike is worth in thresholds, of each plane
    amplitudes: tuple[int, ...] = (1,)

    def __init__(self, name: str, shape: Shape, folded: Sequence[str] = ()) -> None:
        super().__init__()
        self.name, self.shape, self.folded = name, shape, tuple(folded)

    @property
    def sources(self) -> tuple[str, ...]:
        raise NotImplementedError

    def dense(self, inputs: Sequence[Tensor]) -> Tensor:
        """The result from dense sources [N, *shape], every neuron replaced by its clipped ReLU."""
        raise NotImplementedError


class InputLayer(Layer):
    """The network's input: constant over time, or `timed`, with something else at each step, as spikes always are."""

    def __init__(self, name: str, shape: Shape, folded: Sequence[str] = (), spiking: bool = False) -> None:
        super().__init__(name, shape, folded)
        self.spiking = self.timed = spiking

    @property
    def sources(self) -> tuple[str, ...]:
        return ()


class _Sum(Layer):
    """A sum of terms and a bias that spreads over [*S, C]."""

    bias: Tensor

    def __init__(self, name: str, shape: Shape, folded: Sequence[str], terms: Sequence[Term], bias: Tensor) -> None:
        super().__init__(name, shape, folded)
        self._terms = nn.ModuleList(terms)
        self.register_buffer("bias", bias)

    @property
    def terms(self) -> list[Term]:
        return cast(list[Term], list(self._terms))

    def set_terms(self, terms: Sequence[Term]) -> None:
        """Other terms with the same sum."""
        self._terms = nn.ModuleList(terms)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(term.source for term in self.terms)

    def total(self, inputs: Sequence[Tensor], biased: bool = True) -> Tensor:
        """Sum of the terms and the bias; the floating or the fixed-point one, by the dtype of the inputs."""
        exact = not inputs[0].is_floating_point()
        total = total_of([term.exact if exact else term for term in self.terms], inputs)
        return total + self.bias.to(total.dtype) if biased else total


class ValueLayer(_Sum):
    """A sum that no neuron follows at once: several layers read it, or it is an output."""

    def dense(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.total(inputs)


class NeuronLayer(_Sum):
    """A sum, and the neurons that it drives; in units of their threshold (times 2^F in fixed point).

    unit               its threshold in the network that was converted: what one spike is worth there, one number or [C]
    threshold          1, or 2^F in fixed point
    initial_potential  V(0), spreads over [*S, C]
    ceiling            the bound of the converted activation in units of `unit`, infinite for a plain ReLU
    schedule           [T, C], added to the current at each step on top of the bias; a run has at most T steps. `dense`
                       leaves it out
    """

    spiking = True
    unit: Tensor
    threshold: Tensor
    initial_potential: Tensor
    ceiling: Tensor
    schedule: Tensor | None

    def __init__(
        self,
        name: str,
        shape: Shape,
        folded: Sequence[str],
        terms: Sequence[Term],
        bias: Tensor,
        unit: Tensor,
        ceiling: Tensor,
        neuron: Neuron,
    ) -> None:
        super().__init__(name, shape, folded, terms, bias)
        self.neuron, self.amplitudes = neuron, neuron.firing.amplitudes
        self.register_buffer("unit", unit)
        self.register_buffer("ceiling", ceiling)
        self.register_buffer("threshold", torch.ones((), dtype=bias.dtype))
        self.register_buffer("initial_potential", torch.zeros((), dtype=bias.dtype))
        self.register_buffer("schedule", None)

    def dense(self, inputs: Sequence[Tensor], clip: bool = True) -> Tensor:
        total = self.total(inputs).clamp(min=0)
        most = self.ceiling.clamp(max=self.neuron.bound) if clip else self.ceiling
        return torch.minimum(total, most.to(total.dtype))


class PlaneLayer(Layer):
    """One plane of a layer that has several: spikes that are worth `amplitude` thresholds each.

    In place of spikes, the first plane carries all of a dense activation.
    """

    spiking = True

    def __init__(self, source: Layer, plane: int) -> None:
        super().__init__(f"{source.name}.plane{plane}", source.shape)
        self.source, self.plane, self.amplitude = source.name, plane, source.amplitudes[plane]

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def dense(self, inputs: Sequence[Tensor]) -> Tensor:
        return inputs[0] / self.amplitude if self.plane == 0 else torch.zeros_like(inputs[0])


class MaxPoolLayer(Layer):
    """The largest number of each window, step by step."""

    index: Tensor

    def __init__(self, name: str, shape: Shape, folded: Sequence[str], source: Layer, pooling: Pooling) -> None:
        super().__init__(name, shape, folded)
        self.source, self.pooling = source.name, pooling
        index, _ = window_index(
            source.shape[:-1], pooling.kernel, pooling.stride, pooling.padding, pooling.dilation, pooling.ceil_mode
        )
        self.register_buffer("index", index)

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def dense(self, inputs: Sequence[Tensor]) -> Tensor:
        return largest(inputs[0], self.index).reshape(inputs[0].shape[0], *self.shape)


class GateLayer(MaxPoolLayer):
    """Max pooling of spikes: policy "gate" passes the spikes of the most active input, "or" those of any; "lateral"
    emits what the largest sum of an input changes by, on the planes of its source.
    """

    spiking = True

    def __init__(
        self, name: str, shape: Shape, folded: Sequence[str], source: Layer, pooling: Pooling, policy: str
    ) -> None:
        super().__init__(name, shape, folded, source, pooling)
        self.policy, self.amplitudes = policy, source.amplitudes


class CountLayer(Layer):
    """How much is emitted in each window, spikes again: a binary number at every step, one plane a digit.

    index       [P_out, window], -1 for none
    pooling     the geometry, where one says as much
    digits      planes of what is emitted, and of what is taken back, each from the largest digit on
    counted     what a spike of each plane of its source is worth
    """

    spiking = True
    index: Tensor

    def __init__(
        self,
        name: str,
        shape: Shape,
        folded: Sequence[str],
        source: Layer,
        index: Tensor,
        pooling: Pooling | None,
    ) -> None:
        super().__init__(name, shape, folded)
        self.source, self.counted, self.pooling = source.name, source.amplitudes, pooling
        window = int((index >= 0).sum(1).max())
        emitted = sum(a for a in self.counted if a > 0), sum(-a for a in self.counted if a < 0)
        self.digits = tuple((window * most).bit_length() for most in emitted)
        signs = zip(self.digits, (1, -1), strict=True)
        self.amplitudes = tuple(sign * 2**k for digits, sign in signs for k in reversed(range(digits)))
        self.register_buffer("index", index)

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def dense(self, inputs: Sequence[Tensor]) -> Tensor:
        (x,) = inputs
        edge = x.new_zeros(len(x), 1, x.shape[-1])
        return torch.cat([x.flatten(1, -2), edge], dim=1)[:, self.index].sum(2).reshape(len(x), *self.shape)


class RouteLayer(Layer):
    """Data movement, of words or numbers alike: element i is element index[i] of the joined sources, -1 is zero.

    An index of None keeps the elements in their order and only gives them another shape.
    """

    index: Tensor | None

    def __init__(
        self, name: str, shape: Shape, folded: Sequence[str], sources: Sequence[Layer], index: Tensor | None
    ) -> None:
        super().__init__(name, shape, folded)
        self._sources = tuple(s.name for s in sources)
        self.spiking, self.amplitudes = sources[0].spiking, sources[0].amplitudes
        self.padded = index is not None and bool((index < 0).any())
        self.register_buffer("index", index)

    @property
    def sources(self) -> tuple[str, ...]:
        return self._sources

    def dense(self, inputs: Sequence[Tensor]) -> Tensor:
        n = inputs[0].shape[0]
        flat = [x.reshape(n, -1) for x in inputs]
        if self.index is not None:
            zero = [flat[0].new_zeros(n, 1)] if self.padded else []
            return torch.cat(flat + zero, dim=1)[:, self.index.flatten()].reshape(n, *self.shape)
        return flat[0].reshape(n, *self.shape)
