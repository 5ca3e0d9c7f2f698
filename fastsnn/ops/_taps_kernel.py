"""Neurons whose currents need no matrix product, in Triton: depthwise convolutions, and sums taken in parts."""

import triton
import triton.language as tl

from fastsnn.ops._step_kernel import begin, finish, look, place, spread, step


@triton.jit(do_not_specialize=["positions", "bias_step", "out_apart"])
def neurons(
    sums,
    taps,
    tap_pitches,
    tap_weights,
    threshold,
    start,
    bias,
    bias_step,
    out,
    out_pitch,
    out_apart,
    after,
    positions,
    TAPS: tl.constexpr,
    OUT: tl.constexpr,
    OUTPUTS: tl.constexpr,
    T: tl.constexpr,
    WIDE: tl.constexpr,
    THRESHOLD: tl.constexpr,
    START: tl.constexpr,
    RULES: tl.constexpr,
    GRADED: tl.constexpr,
    KEEP: tl.constexpr,
    PARTS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
):
    """T steps of a layer with TAPS to look at and sums [PARTS, T, positions, OUTPUTS]; the rest as in `layer`."""
    IMAGE: tl.constexpr = OUT[0] * OUT[1] * OUT[2]
    TILES_N: tl.constexpr = (OUTPUTS + N - 1) // N
    within = (tl.program_id(0) % TILES_N) * N + tl.arange(0, N)
    channel = within % OUTPUTS
    position = (tl.program_id(0) // TILES_N) * P + tl.arange(0, P)
    valid = position < positions
    real = tl.minimum(position, positions - 1)
    image, depth, row, column = place(position, OUT[0], OUT[1], OUT[2])
    looked = ()
    by = ()
    for i in tl.static_range(len(taps)):
        looked = looked + (look(taps[i], tap_pitches[i], image, depth, row, column, channel, valid, TAPS, i),)
        by = by + (tl.load(tap_weights[i] + channel)[None, :],)
    theta = spread(threshold, real, channel, THRESHOLD, IMAGE, OUTPUTS)
    NUMBER: tl.constexpr = RULES[0]
    KIND: tl.constexpr = tl.float32 if NUMBER == "f32" else (tl.int64 if WIDE else tl.int32)
    if NUMBER != "f32":
        theta = theta.to(tl.int32)
    v, word = begin(start, positions, real, channel, P, N, START, RULES, GRADED)
    for t in tl.static_range(T):
        current = tl.zeros([P, N], KIND)
        for part in tl.static_range(PARTS):
            line = tl.cast(part * T + t, tl.int64) * positions + real
            current += tl.load(sums + line[:, None] * OUTPUTS + channel[None, :])
        v, word = step(v, current, word, theta, bias, bias_step, real, channel, looked, by, t, RULES, GRADED)
    stored = valid[:, None] & (within < OUTPUTS)[None, :]
    finish(v, word, out, out_pitch, out_apart, after, positions, position, channel, stored, KEEP, RULES, GRADED)
