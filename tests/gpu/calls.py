"""Calls of every family's launcher with tensors on the CPU, for any batch size: what is compiled where there is no GPU.

Each function returns a call; its modules are imported when it is called, because they bring Triton.
"""

from collections.abc import Callable

import torch

from fastsnn.firing import firing_of
from fastsnn.spikes import word_dtype

Call = Callable[[int], object]


def words(batch: int, shape: tuple[int, ...], T: int) -> torch.Tensor:
    return torch.zeros((batch, *shape), dtype=word_dtype(T))


def steps(
    dtype: torch.dtype,
    T: int,
    per_channel: bool = False,
    bias: str = "none",
    features: int = 4096,
    rules: str = "soft",
) -> Call:
    """A call of if_steps with contiguous currents [T, batch, features] and rules as `Firing.code` gives them."""

    def call(batch: int) -> object:
        from fastsnn.ops.if_steps.triton_kernel import if_steps

        values = torch.ones(features if per_channel else (), dtype=dtype)
        biases = {
            "none": None,
            "channel": torch.ones(features, dtype=dtype),
            "step": torch.ones(T, 1, features).to(dtype),
        }
        currents = torch.empty(T, batch, features, dtype=dtype)
        return if_steps(currents, torch.zeros((), dtype=dtype), values, biases[bias], rules, ">=")

    return call


def constant(dtype: torch.dtype, T: int, features: int = 4096) -> Call:
    """A call of if_constant with contiguous currents [batch, features], the same at every step."""

    def call(batch: int) -> object:
        from fastsnn.ops.if_constant.triton_kernel import if_constant

        zero, one = torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype)
        return if_constant(torch.empty(batch, features, dtype=dtype), zero, one, None, T, "soft", ">=")

    return call


def packing(op: str, T: int, features: int = 4096) -> Call:
    """A call of pack, unpack or counts, of [batch, features]."""

    def call(batch: int) -> object:
        from fastsnn.ops.pack import triton_kernel as kernels

        if op == "pack":
            return kernels.pack(torch.zeros(T, batch, features, dtype=torch.uint8))
        return getattr(kernels, op)(words(batch, (features,), T), *[T] * (op == "unpack"))

    return call


def pooling(op: str, T: int, size: int = 16, channels: int = 64) -> Call:
    """A call of a pool with windows of 2x2."""

    def call(batch: int) -> object:
        from fastsnn.ops.pool import triton_kernel as kernels

        x = words(batch, (size, size, channels), T)
        before = [torch.zeros(x.shape, dtype=torch.int32)] * (op == "pool_gate")
        return getattr(kernels, op)(x, *before, T, [2, 2], [2, 2], [0, 0], [1, 1], False)

    return call


def lateral(T: int, amplitudes: tuple[int, ...], size: int = 16, channels: int = 64) -> Call:
    """A call of pool_lateral with windows of 2x2."""

    def call(batch: int) -> object:
        from fastsnn.ops.pool.lateral_kernel import pool_lateral

        x = words(batch, (size, size, channels), T)
        planes = torch.stack([x] * len(amplitudes)) if len(amplitudes) > 1 else x
        sums = torch.zeros(x.shape, dtype=torch.int32)
        return pool_lateral(planes, sums, T, amplitudes, [2, 2], [2, 2], [0, 0], [1, 1], False)

    return call


def adapting(dtype: torch.dtype, T: int, first: int = 0, features: int = 4096) -> Call:
    """A call of adaptive_steps with currents [T, batch, features] and a bias for each feature."""

    def call(batch: int) -> object:
        from fastsnn.ops.adaptive.triton_kernel import adaptive_steps

        currents, bias = torch.empty(T, batch, features, dtype=dtype), torch.zeros(features, dtype=dtype)
        v = torch.zeros((2, batch, features) if first else (), dtype=dtype)
        return adaptive_steps(currents, v, bias, T, [0.03, 1.0, 1.0, 5.0, 1.0, 1.0], first)

    return call


def emitting(dtype: torch.dtype, T: int, kind: str, features: int = 4096) -> Call:
    """A call of emit, of [batch, features] with a threshold for each feature."""

    def call(batch: int) -> object:
        from fastsnn.ops.emit.triton_kernel import emit

        v, threshold = torch.empty(batch, features, dtype=dtype), torch.ones(features, dtype=dtype)
        return emit(words(batch, (features,), T), v, threshold, T, kind, 2**40 + batch)

    return call


def restarting(dtype: torch.dtype, steps: int, features: int = 4096) -> Call:
    """A call of restart, of [batch, features], from one threshold and one potential."""

    def call(batch: int) -> object:
        from fastsnn.ops.restart.triton_kernel import restart

        v, one = [torch.empty(batch, features, dtype=dtype) for _ in range(steps)], torch.ones((), dtype=dtype)
        return restart([words(batch, (features,), 1) for _ in v], v, one, one)

    return call


def reading(dtype: torch.dtype, T: int, over_time: bool, inputs: int = 512, outputs: int = 1000) -> Call:
    """A call of readout."""

    def call(batch: int) -> object:
        from fastsnn.ops.readout.triton_kernel import readout

        counts = torch.zeros(batch, inputs, dtype=torch.int32)
        weight, bias = torch.zeros(outputs, inputs, dtype=dtype), torch.zeros(outputs, dtype=dtype)
        return readout(words(batch, (inputs,), T), weight, bias, counts, T, 0, over_time)

    return call


def first(size: int = 32, outputs: int = 64) -> Call:
    """A call of the exact first layer: 3x3 over an image of 3 channels in fixed point."""

    def call(batch: int) -> object:
        from fastsnn.ops._fixed_triton import FixedConvolution

        weight, bias = torch.ones(outputs, 3, 3, 3, dtype=torch.int32), torch.zeros(outputs, dtype=torch.int32)
        run = FixedConvolution((size, size, outputs), weight, bias, 20, [1, 1], [1, 1], [1, 1], 1)
        image, out = (torch.zeros(batch, size, size, channels, dtype=torch.int32) for channels in (3, outputs))
        return run(image, out)

    return call


def layer(
    dtype: torch.dtype,
    T: int,
    channels: tuple[int, int] = (256, 256),
    kernel: int = 3,
    stride: int = 1,
    residual: str = "none",
    groups: int = 1,
    size: int = 14,
    largest: int = 100,
    pool: int = 1,
    tile: tuple[int, ...] | None = None,
    rules: str = "soft",
) -> Call:
    """A call of a layer: conv_if, or linear_if where kernel is 0.

    dtype     of the weights; potentials are float32 for floats, int32 for int8 and int32, int16 for int16
    residual  "none", "identity" (words of the output's size are added), or "projection" (1x1 with the same stride)
    largest   magnitude of fixed-point weights, which decides how many planes of 8 bits they take
    pool      size of windows that are averaged in front of it, as one convolution with a larger kernel (stride 1)
    tile      rows, N, K, warps[, stages[, parts]]; None leaves it to the launcher, by shape and batch
    rules     of the neurons, as `Firing.code` gives them
    """
    dims, (inputs, outputs) = 2 * (kernel > 0), channels
    out = [-(-size // (stride * pool))] * dims
    random = torch.Generator().manual_seed(0)

    def weight(*shape: int) -> torch.Tensor:
        values = torch.randint(-largest, largest + 1, shape, generator=random)
        return (values / largest if dtype.is_floating_point else values).to(dtype)

    # of each input: size, weights, stride, padding, groups
    first = weight(outputs, inputs // groups, *[kernel] * dims)
    for dim in range(2, 2 + dims):
        first = first.repeat_interleave(pool, dim)
    every = [([*[size] * dims, inputs], first, stride * pool, kernel // 2 * pool, groups)]
    if residual == "identity":
        every.append(([*out, outputs], weight(outputs, 1, *[1] * dims), 1, 0, outputs))
    elif residual == "projection":
        every.append(([*[size] * dims, inputs], weight(outputs, inputs, *[1] * dims), stride, 0, 1))
    sizes, weights, strides, paddings, grouped = map(list, zip(*every, strict=True))
    windows = [[n for each in numbers for n in [each] * dims] for numbers in (strides, paddings, [1] * len(every))]
    values = torch.float32 if dtype.is_floating_point else torch.int16 if dtype == torch.int16 else torch.int32
    channel = torch.ones(outputs, dtype=values)

    def call(batch: int) -> object:
        from fastsnn.ops._layer_triton import TritonPlan
        from fastsnn.ops._tiles import Tile

        plan = TritonPlan(
            sizes, weights, (batch, *out, outputs), channel, torch.zeros((), dtype=values), channel,
            *windows, grouped, rules, ">=", tile=None if tile is None else Tile(*tile),
        )  # fmt: skip
        # as an engine on a GPU keeps them, see `Prepared.word`
        kind = torch.int16 if dtype in (torch.float16, torch.bfloat16) and T <= 8 else word_dtype(T)
        given = [torch.zeros((batch, *shape), dtype=kind) for shape in sizes]
        words = firing_of(rules).words_of((batch, *out, outputs))
        return plan(given, T, out=torch.zeros(words, dtype=kind))

    return call
