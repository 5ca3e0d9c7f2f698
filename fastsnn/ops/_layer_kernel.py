"""Convolutions of packed words and the neurons behind them, in Triton: one matrix product, and a scan over its rows.

The rows of a tile are (position, step): words [P, K] are read once, opened to [P * STEPS, K] in registers and
multiplied by the weights on the tensor cores; the neurons then run over the steps of the finished sums, on chip, and
one word a neuron is written. Weights of more than 8 bits come in planes of 8, the highest first, and the sum is shifted
between them.

Constants of a shape (sizes, kernel, channels) are compiled in: with a run-time length of the sum the compiler waits for
every product. The batch is not, so another batch size does not compile anew.
"""

import triton
import triton.language as tl

from fastsnn.ops._step_kernel import begin, finish, look, place, spread, step
from fastsnn.ops._unpack_kernel import plus, unpack


@triton.jit
def tile_of(tiles_p, tiles_n, TOGETHER: tl.constexpr):
    """(tile of positions, tile of channels) of this program: neighbours share weights and words in the L2 cache."""
    program = tl.program_id(0)
    wide = TOGETHER * tiles_n
    first = (program // wide) * TOGETHER
    rows = tl.minimum(tiles_p - first, TOGETHER)
    return first + (program % wide) % rows, (program % wide) // rows


@triton.jit
def opened(
    words, shift, P: tl.constexpr, STEPS: tl.constexpr, K: tl.constexpr, OPERAND: tl.constexpr, PLAIN: tl.constexpr
):
    """Words [P, K] as operands of all steps [P, STEPS, K]."""
    each = words[:, None, :].broadcast_to((P, STEPS, K))
    return unpack(each, shift.broadcast_to((P, STEPS, K)), OPERAND, PLAIN)


@triton.jit
def multiply(
    total,
    words,
    pitch,
    weights,
    shifts,
    image,
    depth,
    row,
    column,
    valid,
    group,
    output,
    part,
    INPUTS: tl.constexpr,
    INDEX: tl.constexpr,
    PLANE: tl.constexpr,
    OUTPUTS: tl.constexpr,
    PARTS: tl.constexpr,
    P: tl.constexpr,
    STEPS: tl.constexpr,
    K: tl.constexpr,
    STAGES: tl.constexpr,
    OPERAND: tl.constexpr,
    PLAIN: tl.constexpr,
):
    """Adds one plane of weights of input INDEX to the sums [P * STEPS, N].

    INPUTS[INDEX]  channels of a group, numbers in a row of weights, size (3), kernel (3), stride (3), padding (3),
                   dilation (3), pooled window (3): each tap reads that many neighbouring words and adds them up
    """
    INPUT: tl.constexpr = INPUTS[INDEX]
    CHANNELS: tl.constexpr = INPUT[0]
    KERNEL_H: tl.constexpr = INPUT[6]
    KERNEL_W: tl.constexpr = INPUT[7]
    LENGTH: tl.constexpr = INPUT[5] * KERNEL_H * KERNEL_W * CHANNELS
    WINDOW: tl.constexpr = INPUT[17] * INPUT[18] * INPUT[19]
    # a slice of K channels belongs to one tap, or each of its numbers to a tap of its own
    EVEN: tl.constexpr = CHANNELS % K == 0
    SLICES: tl.constexpr = (LENGTH + K * PARTS - 1) // (K * PARTS)
    shift = tl.load(shifts + tl.arange(0, STEPS))[None, :, None]
    d0 = depth * INPUT[8] - INPUT[11]
    h0 = row * INPUT[9] - INPUT[12]
    w0 = column * INPUT[10] - INPUT[13]
    along = tl.arange(0, K)
    corner = ((image * INPUT[2] + d0) * INPUT[3] + h0) * INPUT[4] + w0
    # only where an image begins needs 64 bits
    base = words + corner.to(tl.int64)[:, None] * pitch + group * CHANNELS
    column_of = weights + (PLANE * OUTPUTS + output)[None, :] * INPUT[1] + along[:, None]
    # a loop of two slices that is pipelined in three stages makes the compiler wait for every product of the kernel
    for slice_ in tl.range(0, SLICES, num_stages=STAGES if SLICES > 2 else 1):
        number = part * SLICES + slice_
        if EVEN:
            # written so that the compiler sees where 16 bytes begin
            tap = number // (CHANNELS // K)
            channel = number % (CHANNELS // K) * K + along
        else:
            tap = ((number * K + along) // CHANNELS)[None, :]
            channel = (number * K + along) % CHANNELS
        d = tap // (KERNEL_H * KERNEL_W) * INPUT[14] * INPUT[17]
        h = (tap // KERNEL_W) % KERNEL_H * INPUT[15] * INPUT[18]
        w = tap % KERNEL_W * INPUT[16] * INPUT[19]
        slice_at = number
        if PARTS > 1:
            # a part may have slices behind the last one: without spikes, but NaN from behind the weights would count
            slice_at = tl.minimum(number, (LENGTH - 1) // K)
        operand = tl.load(column_of + slice_at * K)
        for window in tl.static_range(WINDOW):
            dd = d + window // (INPUT[18] * INPUT[19])
            hh = h + (window // INPUT[19]) % INPUT[18]
            ww = w + window % INPUT[19]
            # vectors [P], or [P, K] where each number has a tap of its own
            if EVEN:
                inside = valid & (d0 + dd >= 0) & (d0 + dd < INPUT[2]) & (h0 + hh >= 0) & (h0 + hh < INPUT[3])
                inside = (inside & (w0 + ww >= 0) & (w0 + ww < INPUT[4]))[:, None]
            else:
                inside = valid[:, None] & (d0[:, None] + dd >= 0) & (d0[:, None] + dd < INPUT[2])
                inside &= (h0[:, None] + hh >= 0) & (h0[:, None] + hh < INPUT[3])
                inside &= (
                    (w0[:, None] + ww >= 0) & (w0[:, None] + ww < INPUT[4]) & (number * K + along < LENGTH)[None, :]
                )
            if PARTS > 1 and EVEN:
                inside &= number * K < LENGTH
            at = base + ((dd * INPUT[3] + hh) * INPUT[4] + ww) * pitch + channel[None, :]
            seen = opened(tl.load(at, mask=inside, other=0), shift, P, STEPS, K, OPERAND, PLAIN)
            if window == 0:
                spikes = seen
            else:
                spikes = plus(spikes, seen, OPERAND, PLAIN)
        spikes = tl.reshape(spikes, (P * STEPS, K))
        if PLAIN and OPERAND != tl.int8:
            # the interpreter multiplies the bit patterns of bfloat16
            total = tl.dot(spikes.to(tl.float32), operand.to(tl.float32), total)
        elif OPERAND == tl.float32:
            total = tl.dot(spikes, operand, total, input_precision="ieee")
        else:
            total = tl.dot(spikes, operand, total, out_dtype=total.dtype)
    return total


@triton.jit
def scan(
    sums,
    v,
    word,
    threshold,
    bias,
    bias_step,
    position,
    channel,
    looked,
    by,
    FIRST: tl.constexpr,
    STEPS: tl.constexpr,
    T: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    HALVE: tl.constexpr,
    RULES: tl.constexpr,
    GRADED: tl.constexpr,
):
    """Runs a tile over the steps from FIRST on, whose sums are [P, N, STEPS]: the earlier half, then the later."""
    if STEPS > 1:
        early, late = tl.split(tl.permute(tl.reshape(sums, (P, N, 2, STEPS // 2)), (0, 1, 3, 2)))
        v, word = scan(
            early, v, word, threshold, bias, bias_step, position, channel, looked, by,
            FIRST, STEPS // 2, T, P, N, HALVE, RULES, GRADED,
        )  # fmt: skip
        if FIRST + STEPS // 2 < T:
            v, word = scan(
                late, v, word, threshold, bias, bias_step, position, channel, looked, by,
                FIRST + STEPS // 2, STEPS // 2, T, P, N, HALVE, RULES, GRADED,
            )  # fmt: skip
        return v, word
    else:
        current = tl.reshape(sums, (P, N))
        if HALVE:
            current = current * 0.5
        return step(v, current, word, threshold, bias, bias_step, position, channel, looked, by, FIRST, RULES, GRADED)


@triton.jit(do_not_specialize=["positions", "bias_step", "out_apart"])
def layer(
    words,
    pitches,
    weights,
    taps,
    tap_pitches,
    tap_weights,
    shifts,
    threshold,
    start,
    bias,
    bias_step,
    out,
    out_pitch,
    out_apart,
    after,
    positions,
    INPUTS: tl.constexpr,
    TAPS: tl.constexpr,
    OUT: tl.constexpr,
    OUTPUTS: tl.constexpr,
    GROUPS: tl.constexpr,
    T: tl.constexpr,
    PLANES: tl.constexpr,
    OPERAND: tl.constexpr,
    WIDE: tl.constexpr,
    THRESHOLD: tl.constexpr,
    START: tl.constexpr,
    RULES: tl.constexpr,
    GRADED: tl.constexpr,
    KEEP: tl.constexpr,
    PARTS: tl.constexpr,
    P: tl.constexpr,
    STEPS: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    STAGES: tl.constexpr,
    PLAIN: tl.constexpr,
):
    """T steps of a layer with INPUTS that are matrix products and TAPS that are looked at, see `multiply` and `look`.

    words, pitches, weights  of each input; weights [PLANES, OUTPUTS, row]
    taps, tap_weights        of each tap; weights [OUTPUTS] in the type of the sums
    threshold, start, bias   see `spread` and `step`: THRESHOLD, START and RULES say over what each spreads
    out                      words [positions, out_pitch], those of further planes as in `store_words`; with PARTS > 1
                             sums [PARTS, T, positions, OUTPUTS] instead, of which each part has its share of the
                             inputs, for `taps_kernel.neurons`
    after                    potentials [positions, OUTPUTS], or those and counts, written where KEEP
    STEPS                    T rounded up to a power of two
    WIDE                     currents can leave 32 bits; with PLANES of 5 the sums can as well, and the two lowest
                             planes are summed apart from the others
    """
    OWN: tl.constexpr = OUTPUTS // GROUPS
    IMAGE: tl.constexpr = OUT[0] * OUT[1] * OUT[2]
    TILES_N: tl.constexpr = (OWN + N - 1) // N
    tile_p, tile_n = tile_of(tl.cdiv(positions, P), TILES_N * GROUPS, 8)
    part = tl.program_id(1)
    group = tile_n // TILES_N
    within = (tile_n % TILES_N) * N + tl.arange(0, N)
    # beyond the last channel the first are summed once more and not stored
    channel = group * OWN + within % OWN
    position = tile_p * P + tl.arange(0, P)
    valid = position < positions
    # a position that does not exist reads what the last one does, where reading is not masked
    real = tl.minimum(position, positions - 1)
    image, depth, row, column = place(position, OUT[0], OUT[1], OUT[2])

    NUMBER: tl.constexpr = RULES[0]
    INTEGER: tl.constexpr = NUMBER != "f32"
    total = tl.zeros([P * STEPS, N], tl.int32 if INTEGER else tl.float32)
    upper = total
    for plane in tl.static_range(PLANES):
        if PLANES > 4 and plane == PLANES - 2:
            upper = total
            total = tl.zeros([P * STEPS, N], tl.int32)
        elif plane > 0:
            total = total << 8
        for i in tl.static_range(len(words)):
            total = multiply(
                total, words[i], pitches[i], weights[i], shifts[i], image, depth, row, column, valid, group, channel,
                part, INPUTS, i, plane, OUTPUTS, PARTS, P, STEPS, K, STAGES, OPERAND, PLAIN,
            )  # fmt: skip

    stored = valid[:, None] & (within < OWN)[None, :]
    HALVE: tl.constexpr = OPERAND == tl.float16 or OPERAND == tl.bfloat16
    if PARTS > 1:
        rows = tl.arange(0, P * STEPS)
        t = rows % STEPS
        place_ = (tile_p * P + rows // STEPS).to(tl.int64)
        at = ((part * T + t).to(tl.int64) * positions + place_)[:, None] * OUTPUTS + channel[None, :]
        if HALVE:
            total = total * 0.5
        tl.store(out + at, total, mask=((t < T) & (place_ < positions))[:, None] & (within < OWN)[None, :])
    else:
        looked = ()
        by = ()
        for i in tl.static_range(len(taps)):
            looked = looked + (look(taps[i], tap_pitches[i], image, depth, row, column, channel, valid, TAPS, i),)
            by = by + (tl.load(tap_weights[i] + channel)[None, :],)
        theta = spread(threshold, real, channel, THRESHOLD, IMAGE, OUTPUTS)
        if INTEGER:
            theta = theta.to(tl.int32)
        v, word = begin(start, positions, real, channel, P, N, START, RULES, GRADED)
        if PLANES > 4:
            sums = (upper.to(tl.int64) << 16) + total
        elif WIDE:
            sums = total.to(tl.int64)
        else:
            sums = total
        sums = tl.permute(tl.reshape(sums, (P, STEPS, N)), (0, 2, 1))
        v, word = scan(
            sums, v, word, theta, bias, bias_step, real, channel, looked, by,
            0, STEPS, T, P, N, HALVE, RULES, GRADED,
        )  # fmt: skip
        finish(v, word, out, out_pitch, out_apart, after, positions, position, channel, stored, KEEP, RULES, GRADED)
