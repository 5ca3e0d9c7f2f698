"""A dense fixed-point convolution or linear map on a GPU: what a layer reads of the image, once a run."""

from collections.abc import Sequence
from math import prod

import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _triton
from fastsnn.ops import _three
from fastsnn.ops._neuron_kernel import saturated
from fastsnn.ops._step_kernel import place, spread
from fastsnn.ops._tiles import power

# outputs of a tile
TILE = 1024


@triton.jit(do_not_specialize=["positions"])
def fixed(
    x,
    weight,
    bias,
    out,
    positions,
    SIZE: tl.constexpr,
    OUT: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    GROUPS: tl.constexpr,
    SHIFT: tl.constexpr,
    BIAS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
):
    """x [B, *SIZE, CHANNELS] int32, weight [taps, CHANNELS / GROUPS, OUTPUTS] int32, out [positions, OUTPUTS] int32."""
    TILES_N: tl.constexpr = (OUTPUTS + N - 1) // N
    OWN: tl.constexpr = CHANNELS // GROUPS
    within = (tl.program_id(0) % TILES_N) * N + tl.arange(0, N)
    channel = within % OUTPUTS
    position = (tl.program_id(0) // TILES_N) * P + tl.arange(0, P)
    valid = position < positions
    image, depth, row, column = place(position, OUT[0], OUT[1], OUT[2])
    group = channel // (OUTPUTS // GROUPS) * OWN
    total = tl.zeros([P, N], tl.int64)
    for tap in tl.range(0, KERNEL[0] * KERNEL[1] * KERNEL[2]):
        d = depth * STRIDE[0] - PADDING[0] + tap // (KERNEL[1] * KERNEL[2]) * DILATION[0]
        h = row * STRIDE[1] - PADDING[1] + tap // KERNEL[2] % KERNEL[1] * DILATION[1]
        w = column * STRIDE[2] - PADDING[2] + tap % KERNEL[2] * DILATION[2]
        inside = valid & (d >= 0) & (d < SIZE[0]) & (h >= 0) & (h < SIZE[1]) & (w >= 0) & (w < SIZE[2])
        at = (((image * SIZE[0] + d) * SIZE[1] + h) * SIZE[2] + w).to(tl.int64) * CHANNELS
        for c in tl.range(0, OWN):
            seen = tl.load(x + at[:, None] + group[None, :] + c, mask=inside[:, None], other=0)
            by = tl.load(weight + (tap * OWN + c) * OUTPUTS + channel)
            total += seen.to(tl.int64) * by[None, :].to(tl.int64)
    if SHIFT > 0:
        total = (total + (1 << (SHIFT - 1))) >> SHIFT
    elif SHIFT < 0:
        total = total << -SHIFT
    real = tl.minimum(position, positions - 1)
    total += spread(bias, real, channel, BIAS, OUT[0] * OUT[1] * OUT[2], OUTPUTS)
    at = position.to(tl.int64)[:, None] * OUTPUTS + channel[None, :]
    tl.store(out + at, saturated(total, "i32"), mask=valid[:, None] & (within < OUTPUTS)[None, :])


class FixedConvolution:
    """The native module's of the same name, in Triton: (sum of weight * x, scaled down by 2^shift, halves up) + bias.

    shape, weight, bias, shift, stride, padding, dilation, groups
                as there; the result saturates at +-(2^30 - 1) and is exact
    """

    def __init__(
        self,
        shape: Sequence[int],
        weight: Tensor,
        bias: Tensor,
        shift: int,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> None:
        outputs, per_group, *kernel = weight.shape
        self.shape, self.groups, self.shift = tuple(shape), groups, shift
        self._geometry = tuple(map(tuple, _three.geometry(kernel, stride, padding, dilation)))
        self._weight = weight.reshape(outputs, per_group, -1).permute(2, 1, 0).contiguous()
        positional = any(n > 1 for n in bias.shape[:-1])
        self._per = "image" if positional else "channel"
        flat = bias if positional else bias.flatten()
        self._bias = flat.expand(self.shape if positional else self.shape[-1:]).contiguous()

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """x [B, *S, C] int32, |x| <= 2^30, contiguous: writes out [B, *S', O] int32, contiguous, and returns it."""
        batch, *sizes, channels = x.shape
        positions = batch * prod(self.shape[:-1])
        N = min(power(self.shape[-1]), 64)
        P = TILE // N
        grid = (-(-positions // P) * -(-self.shape[-1] // N),)
        if positions == 0:
            return out
        kernel, stride, padding, dilation = self._geometry
        with _triton.on(x):
            fixed[grid](
                x,
                self._weight,
                self._bias,
                out,
                positions,
                SIZE=tuple(_three.sizes(sizes)),
                OUT=tuple(_three.sizes(self.shape[:-1])),
                KERNEL=kernel,
                STRIDE=stride,
                PADDING=padding,
                DILATION=dilation,
                CHANNELS=channels,
                OUTPUTS=self.shape[-1],
                GROUPS=self.groups,
                SHIFT=self.shift,
                BIAS=self._per,
                P=P,
                N=N,
                num_warps=4,
            )
        return out
