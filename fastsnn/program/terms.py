"""One linear map from one source: the summands of every current and value, in floating and in fixed point."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fastsnn._registry import exporting
from fastsnn.ops.conv_if.reference import convolve
from fastsnn.windows import Shape

LOW_BITS = 15
Map = Callable[[Tensor], Tensor]


def total_of(maps: Sequence[Map], inputs: Sequence[Tensor]) -> Tensor:
    """The sum of what each map makes of its input."""
    parts = [run(x) for run, x in zip(maps, inputs, strict=True)]
    return sum(parts[1:], start=parts[0])


class Term(nn.Module):
    """weight applied to a source: [N, *S, C] -> [N, *S', C'].

    source   the layer whose result it reads
    weight   float, or int32 in fixed point
    shift    in fixed point, by how many bits the sum is scaled down afterwards; 0 where the source spikes
    """

    weight: Tensor

    def __init__(self, source: str, weight: Tensor, shape: Shape) -> None:
        super().__init__()
        self.source, self.shape, self.shift = source, shape, 0
        self.register_buffer("weight", weight)

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x, self.weight.to(x.dtype)).reshape(x.shape[0], *self.shape)

    def exact(self, x: Tensor) -> Tensor:
        """The same on fixed-point values x int64, |x| <= 2^30: int64, exact, rounded half up to `shift` bits fewer.

        float64 carries the sums: x goes in two parts of 15 bits, and the sum of |weight| is below 2^31, so every
        partial sum stays below 2^47 and is exact in any order.
        """
        weight = self.weight.to(torch.float64)
        low, high = x & (2**LOW_BITS - 1), x >> LOW_BITS
        total = self.linear(low.double(), weight).to(torch.int64)
        # looking would wait for a GPU, and torch.export cannot look
        if high.is_cuda or exporting() or bool(high.any()):
            total = total + (self.linear(high.double(), weight).to(torch.int64) << LOW_BITS)
        if self.shift > 0:
            total = (total + (1 << (self.shift - 1))) >> self.shift
        elif self.shift < 0:
            total = total << -self.shift
        return total.reshape(x.shape[0], *self.shape)

    def reach(self) -> float:
        """The largest sum of |weight| over what one output element reads."""
        return self.largest(self.weight.double().abs())

    def extent(self) -> float:
        """How far from zero spikes drive an output element: only weights of one sign add up."""
        weight = self.weight.double()
        return max(self.largest(weight.clamp(min=0)), self.largest(-weight.clamp(max=0)))

    def largest(self, weight: Tensor) -> float:
        """The largest sum of weights, none of them negative, over what one output element reads."""
        raise NotImplementedError


class ConvTerm(Term):
    """weight [O, C / groups, *kernel]."""

    def __init__(
        self,
        source: str,
        weight: Tensor,
        shape: Shape,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> None:
        super().__init__(source, weight, shape)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        return convolve(x, weight, self.stride, self.padding, self.dilation, self.groups)

    def largest(self, weight: Tensor) -> float:
        return weight.flatten(1).sum(1).max().item()


class LinearTerm(Term):
    """weight [O, K]."""

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight.T

    def largest(self, weight: Tensor) -> float:
        return weight.sum(1).max().item()


class ScaleTerm(Term):
    """weight spreads over [*S, C]: a residual connection, or a batch norm that stands alone."""

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        return x * weight

    def largest(self, weight: Tensor) -> float:
        return weight.max().item()


class WindowTerm(Term):
    """Weighted sums over windows of positions: index [P_out, window] (-1 is none), weight [P_out, window, C or 1]."""

    index: Tensor

    def __init__(self, source: str, weight: Tensor, shape: Shape, index: Tensor) -> None:
        super().__init__(source, weight, shape)
        self.register_buffer("index", index)

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        return (x.flatten(1, -2)[:, self.index] * weight).sum(2)

    def largest(self, weight: Tensor) -> float:
        return weight.sum(1).max().item()
