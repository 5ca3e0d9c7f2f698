"""Which terms one call of a fused layer takes, and as what."""

from collections.abc import Sequence

from fastsnn.program import ConvTerm, LinearTerm, ScaleTerm, Term
from fastsnn.windows import Shape


def fusable(terms: Sequence[Term], shape: Shape, planned: bool) -> bool:
    """Whether linear_if (for [F]) or conv_if (for [*S, C]) can take the terms; residuals of [F] only a plan can."""
    if len(shape) == 1:
        return all(isinstance(t, LinearTerm) or (planned and isinstance(t, ScaleTerm)) for t in terms)
    per_channel = (isinstance(t, ConvTerm) or (isinstance(t, ScaleTerm) and t.weight.ndim < 2) for t in terms)
    return len(shape) <= 4 and all(per_channel)


def as_conv(term: Term, shape: Shape) -> ConvTerm:
    """A residual connection as a depthwise convolution of one position, and so a linear map; a convolution as it is."""
    if isinstance(term, ConvTerm):
        return term
    dims, channels = len(shape) - 1, shape[-1]
    ones, zeros = (1,) * dims, (0,) * dims
    if isinstance(term, LinearTerm):
        return ConvTerm(term.source, term.weight, shape, ones, zeros, ones, 1)
    weight = term.weight.expand(channels).reshape(channels, 1, *ones)
    return ConvTerm(term.source, weight, shape, ones, zeros, ones, channels)


def geometry_of(convs: Sequence[ConvTerm]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Stride, padding, dilation of each input and spatial dimension, groups of each input: as plans take them."""
    return (
        [n for conv in convs for n in conv.stride],
        [n for conv in convs for n in conv.padding],
        [n for conv in convs for n in conv.dilation],
        [conv.groups for conv in convs],
    )
