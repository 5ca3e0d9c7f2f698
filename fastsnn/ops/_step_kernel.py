"""What drives the neurons of a layer beside its sums, in Triton: words that are looked at, biases, values that spread.

A tile is [P, N]: P output positions (of all images, one after the other) and N output channels.
"""

import triton
import triton.language as tl

from fastsnn.ops._graded_kernel import begun, emit, store_state, store_words
from fastsnn.ops._neuron_kernel import bounded, saturated


@triton.jit
def spread(at, position, channel, PER: tl.constexpr, IMAGE: tl.constexpr, OUTPUTS: tl.constexpr):
    """Values of a tile: a number a channel [1, N], or one a neuron [P, N].

    PER    "channel", "image" (positions of one image and channels) or "all" (the same for every image)
    IMAGE  output positions of one image
    """
    if PER == "channel":
        return tl.load(at + channel)[None, :]
    elif PER == "image":
        return tl.load(at + (position % IMAGE)[:, None] * OUTPUTS + channel[None, :])
    else:
        return tl.load(at + position.to(tl.int64)[:, None] * OUTPUTS + channel[None, :])


@triton.jit
def place(position, out_d: tl.constexpr, out_h: tl.constexpr, out_w: tl.constexpr):
    """(image, depth, row, column) of output positions."""
    column = position % out_w
    row = (position // out_w) % out_h
    depth = (position // (out_w * out_h)) % out_d
    return position // (out_w * out_h * out_d), depth, row, column


@triton.jit
def look(words, pitch, image, depth, row, column, channel, valid, TAPS: tl.constexpr, INDEX: tl.constexpr):
    """The words [P, N] that one tap of a depthwise kernel reads, widened to int32; 0 outside.

    TAPS[INDEX]  input number, its size (3), stride (3), offset of the tap (3), outputs a channel
    """
    TAP: tl.constexpr = TAPS[INDEX]
    d = depth * TAP[4] + TAP[7]
    h = row * TAP[5] + TAP[8]
    w = column * TAP[6] + TAP[9]
    inside = valid & (d >= 0) & (d < TAP[1]) & (h >= 0) & (h < TAP[2]) & (w >= 0) & (w < TAP[3])
    line = (image * TAP[1] + d) * TAP[2] + h
    at = (line * TAP[3] + w).to(tl.int64) * pitch
    return tl.load(words + at[:, None] + (channel // TAP[10])[None, :], mask=inside[:, None], other=0).to(tl.int32)


@triton.jit
def step(
    v,
    current,
    word,
    threshold,
    bias,
    bias_step,
    position,
    channel,
    looked,
    by,
    t: tl.constexpr,
    RULES: tl.constexpr,
    GRADED: tl.constexpr,
):
    """Step t of a tile: (v, word), or state and words as `emit` has them.

    current     the sum over the inputs that are matrix products
    looked, by  words [P, N] and weights [1, N] of the taps that are looked at
    bias        where biases are; `bias_step` numbers further are those of the next step
    RULES       NUMBER; over what biases spread, or "none"; whether each step has its own; positions of an image;
                channels; hard reset; comparator ">"
    GRADED      as in `_graded_kernel`
    """
    NUMBER: tl.constexpr = RULES[0]
    PER: tl.constexpr = RULES[1]
    IMAGE: tl.constexpr = RULES[3]
    OUTPUTS: tl.constexpr = RULES[4]
    HARD: tl.constexpr = RULES[5]
    STRICT: tl.constexpr = RULES[6]
    for i in tl.static_range(len(looked)):
        spikes = (looked[i] >> t) & 1
        if NUMBER == "f32":
            current += spikes.to(tl.float32) * by[i]
        else:
            current += spikes.to(current.dtype) * by[i].to(current.dtype)
    if PER != "none":
        if RULES[2]:
            bias += t * bias_step
        current += spread(bias, position, channel, PER, IMAGE, OUTPUTS).to(current.dtype)
    return emit(v, saturated(current, NUMBER), threshold, word, t, NUMBER, HARD, STRICT, GRADED)


@triton.jit
def begin(
    start,
    positions,
    position,
    channel,
    P: tl.constexpr,
    N: tl.constexpr,
    START: tl.constexpr,
    RULES: tl.constexpr,
    GRADED: tl.constexpr,
):
    """(state, words) of a tile before its first step.

    start  potentials, over what START says as in `spread`, or "state": potentials and counts [2, positions, OUTPUTS]
    """
    NUMBER: tl.constexpr = RULES[0]
    v = spread(start, position, channel, START, RULES[3], RULES[4])
    if NUMBER != "f32":
        v = v.to(tl.int32)
    v = bounded(v + tl.zeros([P, N], v.dtype), NUMBER)
    count = tl.zeros([P, N], v.dtype)
    if START == "state":
        counts = start + positions.to(tl.int64) * RULES[4]
        count = spread(counts, position, channel, "all", RULES[3], RULES[4]).to(v.dtype)
    return begun(v, count, GRADED)


@triton.jit
def finish(
    state,
    words,
    out,
    pitch,
    apart,
    after,
    positions,
    position,
    channel,
    stored,
    KEEP: tl.constexpr,
    RULES: tl.constexpr,
    GRADED: tl.constexpr,
):
    """Writes the words of a tile, and its state where KEEP; `stored` is where it has neurons."""
    far = position.to(tl.int64)[:, None]
    store_words(out + far * pitch + channel[None, :], apart, words, stored, GRADED)
    if KEEP:
        neurons = positions.to(tl.int64) * RULES[4]
        store_state(after + far * RULES[4] + channel[None, :], neurons, state, stored, GRADED)
