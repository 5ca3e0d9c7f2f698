"""Operators that no spikes carry, as layers of numbers: smooth activations, gates, norms, products of two values."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from fastsnn.ops._functions import WRITTEN_OUT, named
from fastsnn.ops._step import LIMIT
from fastsnn.program.axes import channels_last, logical
from fastsnn.program.fixed import fixed_input
from fastsnn.program.layers import Layer
from fastsnn.program.operators import argument, function, short, subscripts
from fastsnn.windows import Shape


def products(operator: str, arguments: Sequence[Any], inputs: Sequence[Shape], shape: Shape) -> int:
    """Multiplications of values with each other, for one image; in functions of one value there are none.

    arguments       those without a name
    inputs, shape   of what it reads and gives, channels last: the last dimension that users see is the last but one
    """
    name = short(operator)
    if name == "mul":
        return prod(shape)
    if name in ("matmul", "bmm"):
        return prod(shape) * inputs[0][-2]
    if name == "scaled_dot_product_attention":
        queries, keys, values = inputs
        return prod(queries) * keys[-3] + prod(shape) * values[-3]
    if name == "einsum" and len(inputs) > 1:
        seen = zip(subscripts(arguments[0]), inputs, strict=False)
        # each subscript but that of the samples, once
        return prod({n: size for term, (*s, c) in seen for n, size in zip(term[1:], (c, *s), strict=True)}.values())
    return 0


class FunctionLayer(Layer):
    """A function f of numbers: of their means over the steps so far, or of those of each step.

        out[t] = t f(m[t]) - (t - 1) f(m[t - 1]),    m[t] the means of what its sources gave in steps 1 to t

    The mean of what it gives in steps 1 to t is then f(m[t]), whatever f is.

    sources    names of the layers that it reads, none of which spikes
    operator   of ATen, by name; it sees values as users do, [N, C, *S]. Of several results the first
    arguments  a list of those without a name, and those with one, as `fastsnn.program.operators` has them; place k is
               source k
    stepwise   whether it is applied to each step by itself, as in a network that spiked before it was converted
    exponent   in fixed point, numbers are stored times 2^exponent
    known      what the operator is called by kernels that know it, which then define it in fixed point; or None

    Source: Huang et al., ACM MM 2024 (expectation compensation).
    """

    exponent: int | None = None

    def __init__(
        self,
        name: str,
        shape: Shape,
        folded: Sequence[str],
        sources: Sequence[str],
        operator: str,
        arguments: tuple[list[Any], Mapping[str, Any]],
        stepwise: bool = False,
    ) -> None:
        super().__init__(name, shape, folded)
        self._sources, self.operator, self.stepwise = tuple(sources), operator, stepwise
        self.arguments = (list(arguments[0]), dict(arguments[1]))
        self.known = named(function(operator), self.arguments)

    @property
    def sources(self) -> tuple[str, ...]:
        return self._sources

    def dense(self, inputs: Sequence[Tensor]) -> Tensor:
        if inputs[0].is_floating_point():
            return self._of(inputs)
        bits = self.exponent or 0
        return fixed_input(self.values([x.double() * 2.0**-bits for x in inputs]), bits)

    def over_time(
        self, inputs: Sequence[Tensor], steps: Tensor, state: Sequence[Tensor] | None = None, differential: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """(numbers at each step [T, B, *S, C], int32 in fixed point; the state after the last).

        inputs        numbers [T, B, *S, C]
        steps         [T + 1] float64: by what sums are divided, before these steps and after each of them
        state         of the call before; None: these are the first steps
        differential  numbers are changes of means, times the number of the step
        """
        T, exact = len(inputs[0]), not inputs[0].is_floating_point()
        if self.stepwise:
            return self.dense([x.flatten(0, 1) for x in inputs]).unflatten(0, (T, -1)), []
        one = 2.0 ** (self.exponent or 0) if exact else 1.0
        sums: list[Tensor] = []
        means: list[Tensor] = []
        for i, x in enumerate(inputs):
            n = steps[1:].to(torch.float64 if exact else x.dtype).reshape(T, *[1] * (x.ndim - 1))
            total = (x / n if differential else x).cumsum(0)
            total = total if state is None else total.add_(state[i])
            sums.append(total[-1].clone())
            means.append((total / one if differential else total / (one * n)).flatten(0, 1))
        # a function that is not finite at the means of the first steps gives nothing there
        found = (self.values if exact else self._of)(means).unflatten(0, (T, -1)).nan_to_num(0.0, 0.0, 0.0)
        n = steps[1:].to(found.dtype).reshape(T, *[1] * (found.ndim - 1)) * one
        if not differential:
            found = found.mul_(n).round_() if exact else found.mul_(n)
        out = torch.empty_like(found)
        torch.sub(found[1:], found[:-1], out=out[1:])
        out[0] = found[0] if state is None else found[0] - state[-1]
        out = out.mul_(n) if differential else out
        if exact:
            # whole numbers already, unless they are changes of means
            out = (out.round_() if differential else out).clamp_(1 - LIMIT, LIMIT - 1).int()
        return out, [*sums, found[-1].clone()]

    def values(self, means: Sequence[Tensor]) -> Tensor:
        """What it is in fixed point, of means [N, *S, C] float64."""
        return WRITTEN_OUT[self.known](means[0]) if self.known in WRITTEN_OUT else self._of(means)

    def _of(self, values: Sequence[Tensor]) -> Tensor:
        seen = [logical(value) for value in values]
        given, named = self.arguments
        out = function(self.operator)(*argument(given, seen), **{k: argument(v, seen) for k, v in named.items()})
        return channels_last(out if isinstance(out, Tensor) else out[0])
