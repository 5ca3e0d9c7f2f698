"""What the inputs of a layer drive it with, apart from spikes: bias, constant currents, sums of numbers."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fastsnn._registry import load
from fastsnn.ops._by_backend import FIXED
from fastsnn.program import ConvTerm, Layer, LinearTerm, NeuronLayer, Term
from fastsnn.program.fixed import saturated

Results = dict[str, Tensor]


class Run(Protocol):
    """The part of a run that drivers see."""

    static: Results

    def number(self, name: str, results: Results, t: int) -> Tensor: ...

    def words(self, layer: Layer, T: int) -> Tensor: ...


def bias_of(layer: NeuronLayer, constant: Sequence[Term], run: Run, exact: bool, fixed: Any = None) -> Tensor:
    """Bias and constant inputs of a layer, computed once a run where there are any; by `fixed`, where that is given."""
    if not constant:
        return layer.bias
    key = f"{layer.name}.constant"
    if key not in run.static:
        if fixed is not None:
            run.static[key] = fixed(run.static[constant[0].source].to(torch.int32))
        else:
            run.static[key] = _constant(layer, constant, run, exact)
    return run.static[key]


def _constant(layer: NeuronLayer, terms: Sequence[Term], run: Run, exact: bool) -> Tensor:
    """Bias and constant inputs of a layer as one current [B, *S, C]."""
    total = total_of(terms, [run.static[term.source] for term in terms], exact) + layer.bias
    return saturated(total).to(layer.bias.dtype).contiguous()


def total_of(terms: Sequence[Term], inputs: Sequence[Tensor], exact: bool) -> Tensor:
    parts = [(term.exact if exact else term)(x) for term, x in zip(terms, inputs, strict=True)]
    return sum(parts[1:], start=parts[0])


def fixed_of(layer: NeuronLayer, terms: Sequence[Term], backend: str) -> Any:
    """The constant current of a layer in integers, where it is one convolution or linear map of int32; or None."""
    kind = load(FIXED[backend])
    (term, *more) = terms
    if more or not isinstance(term, ConvTerm | LinearTerm) or term.weight.ndim > 5:
        return None
    common = (layer.shape, term.weight, layer.bias, term.shift)
    if isinstance(term, LinearTerm):
        return kind(*common, (), (), (), 1)
    return kind(*common, term.stride, term.padding, term.dilation, term.groups)
