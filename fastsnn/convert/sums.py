"""What a value is while a graph is lowered: a layer's result, or a sum that no layer holds yet; and its terms."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fastsnn.convert.graph import Conv, Linear, Window, reduced
from fastsnn.program import ConvTerm, Layer, LinearTerm, RouteLayer, ScaleTerm, Term, WindowTerm
from fastsnn.windows import Pooling, Shape

ONE, ZERO = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
# layers whose spikes are read one by one in place of their sum
MOST_SPARSE = 4


@dataclass(frozen=True)
class Stored:
    """A layer's result and how to read it: real = unit * stored + offset."""

    layer: Layer
    unit: Tensor = ONE
    offset: Tensor = ZERO

    @property
    def plain(self) -> bool:
        return not self.layer.spiking and torch.equal(self.unit, ONE) and torch.equal(self.offset, ZERO)


@dataclass(frozen=True)
class Summand:
    """scale * payload(source); a payload of None is the source itself."""

    payload: Conv | Linear | Window | None
    source: Stored
    scale: Tensor
    shape: Shape

    @property
    def per_channel(self) -> bool:
        """Whether its scale has to be one number a channel: a convolution cannot carry more."""
        return isinstance(self.payload, Conv | Window)


@dataclass(frozen=True)
class Pending:
    """A sum that no layer holds yet, in real units; `folded` names the graph nodes in it."""

    summands: tuple[Summand, ...]
    bias: Tensor
    shape: Shape
    folded: tuple[str, ...]

    @property
    def sparse(self) -> bool:
        """Whether it is of few layers' spikes and nothing else, so that a reader takes them one by one: an addition
        a spike, as for the sum of them, but no numbers at every step.
        """
        summands = self.summands
        plain = all(s.payload is None and s.source.layer.spiking and s.source.unit.ndim < 2 for s in summands)
        scales = all(s.scale.ndim < 2 and torch.equal(s.source.offset, ZERO) for s in summands)
        return plain and scales and torch.equal(self.bias, ZERO) and len(summands) <= MOST_SPARSE


def summands_of(value: Stored | Pending) -> tuple[Summand, ...]:
    """A sum's; a layer's result is one of its own."""
    return value.summands if isinstance(value, Pending) else (Summand(None, value, ONE, value.layer.shape),)


def mapped(payload: Conv | Linear, summand: Summand, shape: Shape) -> Summand:
    """A linear map of a summand that is a layer's result, times its scale."""
    source, scale = summand.source, summand.scale
    return Summand(payload, replace(source, unit=source.unit * scale, offset=source.offset * scale), ONE, shape)


def times(a: Tensor, b: Tensor, shape: Shape) -> Tensor:
    """The product, cut down to where it varies over a value of `shape`."""
    return a * b if max(a.ndim, b.ndim) < 2 else reduced(a * b, shape)


def term(summand: Summand, scale: Tensor) -> Term:
    """scale * payload(unit * source) as one term; the source's offset is not in it."""
    source, shape, unit = summand.source.layer, summand.shape, summand.source.unit
    match summand.payload:
        case None:
            return ScaleTerm(source.name, reduced(unit * scale, shape), shape)
        case Linear(weight):
            return LinearTerm(source.name, weight * unit * scale.reshape(-1, 1), shape)
        case Conv():
            return conv_term(summand.payload, source.name, shape, unit, scale)
        case Window(index, weight, pooling):
            if pooling is not None:
                return conv_term(depthwise(weight.max(), pooling, shape[-1]), source.name, shape, unit, scale)
            return WindowTerm(source.name, weight[..., None] * (unit * scale), shape, index)
    raise TypeError(f"no term for {type(summand.payload).__name__}")


def terms_of(pending: Pending, unit: Tensor) -> tuple[list[Term], Tensor]:
    """The summands with all scales folded, divided by `unit`, and the bias that goes with them."""
    bias = pending.bias / unit
    found = []
    for summand in pending.summands:
        scale = summand.scale / unit
        found.append(term(summand, scale))
        if not torch.equal(summand.source.offset, ZERO):
            bias = bias + _of_offset(summand, scale)
    return found, reduced(bias, pending.shape)


def _of_offset(summand: Summand, scale: Tensor) -> Tensor:
    """scale * payload(offset of the source), [*S, C]."""
    conv, offset, shape = summand.payload, summand.source.offset, summand.source.layer.shape
    if isinstance(conv, Conv) and offset.ndim < 2:
        # what all positions have alike is summed over the channels first, so that one is left to convolve
        weight = conv_term(conv, "", summand.shape, offset, scale).weight.sum(1, keepdim=True)
        one = replace(conv, weight=weight, groups=1)
        return conv_term(one, "", summand.shape, ONE, ONE)(weight.new_ones(1, *shape[:-1], 1))[0]
    plain = replace(summand, source=Stored(summand.source.layer))
    return term(plain, scale)(offset.expand(shape)[None].contiguous())[0]


def depthwise(weight: Tensor, pooling: Pooling, channels: int) -> Conv:
    """Pooling windows with one weight as a convolution."""
    kernel = weight * torch.ones(channels, 1, *pooling.kernel, dtype=torch.float64)
    return Conv(kernel, pooling.stride, pooling.padding, (1,) * len(pooling.kernel), channels)


def conv_term(conv: Conv, source: str, shape: Shape, unit: Tensor, scale: Tensor) -> ConvTerm:
    outputs, per_group = conv.weight.shape[:2]
    spatial = (1,) * (conv.weight.ndim - 2)
    unit = unit.expand(per_group * conv.groups).reshape(conv.groups, 1, per_group)
    unit = unit.expand(-1, outputs // conv.groups, -1).reshape(outputs, per_group, *spatial)
    weight = conv.weight * unit * scale.expand(outputs).reshape(outputs, 1, *spatial)
    return ConvTerm(source, weight, shape, conv.stride, conv.padding, conv.dilation, conv.groups)


def filled(unit: Tensor, there: Tensor) -> Tensor:
    """Units [*S, C] with those of elements that are not there as their channel has them: zero is zero in any unit."""
    flat, known = unit.reshape(-1, unit.shape[-1]), there.reshape(-1, unit.shape[-1])
    first = known.to(torch.uint8).argmax(0, keepdim=True)
    return torch.where(known, flat, flat.gather(0, first)).reshape(unit.shape)


def flattened(name: str, source: Stored, layers: dict[str, Layer]) -> Stored:
    """Spikes as a vector, their units and offsets with them; in a layer that is added where there is none."""
    shape = source.layer.shape
    size = (torch.Size(shape).numel(),)
    if name not in layers:
        layers[name] = RouteLayer(name, size, (name,), [source.layer], None)
    unit, offset = (reduced(v.expand(shape).reshape(size), size) for v in (source.unit, source.offset))
    return Stored(layers[name], unit, offset)
