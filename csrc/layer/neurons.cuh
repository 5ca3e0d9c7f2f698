// The neurons of a layer on a GPU, once their sums are there, and what drives them beside: words that are looked at.
#pragma once

#include "common/cells.cuh"
#include "layer/term.cuh"

namespace fastsnn {
namespace device {

// Values repeat over the positions: that of position p is at [p % repeat], for each output.
struct LayerCall {
    static constexpr bool GRADED = false;

    const void* words[MOST_INPUTS];    // [B, *in, pitch] each: of the events, then of the looks
    const void* weights[MOST_INPUTS];  // of events as the kernel wants them; of looks [taps, outputs] of Tap
    const void* v;
    const void* threshold;
    const void* bias;  // or null
    void* out;         // words [positions, out_pitch], of which `outputs` are written
    void* after;       // [positions, outputs] potentials after the last step, or null
    int64_t pitch[MOST_INPUTS];
    int64_t positions, v_repeat, threshold_repeat, bias_repeat, bias_step, out_pitch;
    int32_t word_bytes[MOST_INPUTS];
    Window window[MOST_INPUTS];
    int32_t events, looks, T, outputs, groups, row, parts, planes, slices, hard, strict, size[3];
};

struct GradedLayerCall : LayerCall {
    static constexpr bool GRADED = true;

    Rule rule;
    const void* emitted;  // [positions, outputs] before the first step, or null; counts to leave lie behind potentials
    int64_t out_plane;    // from the words of one plane to those of the next
};
static_assert(sizeof(GradedLayerCall) <= 4096, "older drivers do not take more");

namespace {

// Adds what depthwise inputs drive the outputs [output, output + count) with; `channel` is the first of all groups'.
template <class Sum, int N, int STEPS>
FASTSNN_DEVICE void look(const LayerCall& call, int input, const Place& at, int64_t channel, int count,
                         Sum (&sums)[STEPS][N]) {
    const Window& w = call.window[input];
    const typename Tap<Sum>::type* weights = static_cast<const typename Tap<Sum>::type*>(call.weights[input]);
    taps_of(w, at, [&](int64_t position, int tap) {
        if (position < 0) {
            return;
        }
#pragma unroll
        for (int i = 0; i < N; ++i) {
            if (i < count) {
                const int64_t place = position * call.pitch[input] + (channel + i) / w.channels;
                const uint32_t word = word_at(call.words[input], call.word_bytes[input], place);
                const Sum weight = static_cast<Sum>(weights[int64_t(tap) * call.outputs * call.groups + channel + i]);
#pragma unroll
                for (int t = 0; t < STEPS; ++t) {
                    sums[t][i] = One<Sum>::sum(sums[t][i], word >> t & 1u ? weight : Sum(0));
                }
            }
        }
    });
}

// Writes the first `count` of N neighbours.
template <int N, class E, class From>
FASTSNN_DEVICE void write(E* to, const From* from, int count) {
    if (count == N && aligned<N>(to)) {
        store<N>(to, from);
        return;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < count) {
            to[i] = static_cast<E>(from[i]);
        }
    }
}

// Runs the neurons [channel, channel + count) of a position over the steps of their sums.
template <class E, class Sum, class Out, class Call, int N, int STEPS>
FASTSNN_DEVICE void fire(const Call& call, int64_t position, int64_t channel, int count, const Sum (&sums)[STEPS][N]) {
    constexpr bool GRADED = Call::GRADED;
    const int64_t outputs = int64_t(call.outputs) * call.groups;
    const auto place = [&](int64_t repeat) {
        return (repeat == 1 ? 0 : divide(position, repeat).rest) * outputs + channel;
    };
    const E* start = static_cast<const E*>(call.v) + place(call.v_repeat);
    const E* thresholds = static_cast<const E*>(call.threshold) + place(call.threshold_repeat);
    const E* bias = call.bias ? static_cast<const E*>(call.bias) + place(call.bias_repeat) : nullptr;
    typedef Cells<E, N, GRADED> Own;
    Own cells = {};
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < count) {
            const E theta = thresholds[i];
            cells.v[i] = Own::Rules::saturate(start[i]);
            E add = bias ? bias[i] : E(0);
            const auto step = [&](int t, Sum sum) {
                if (t < call.T) {
                    if (call.bias_step) {
                        add = bias[t * call.bias_step + i];
                    }
                    cells.step(call, i, as_current<E>(One<Sum>::sum(sum, static_cast<Sum>(add))), theta, t);
                }
            };
            if constexpr (GRADED) {
                cells.emitted[i] =
                    call.emitted ? static_cast<const E*>(call.emitted)[position * outputs + channel + i] : E(0);
                // a loop over planes is too much code to have it for each step; the sums themselves stay in registers
                Sum drive[STEPS];
#pragma unroll
                for (int t = 0; t < STEPS; ++t) {
                    drive[t] = sums[t][i];
                }
#pragma unroll 1
                for (int t = 0; t < STEPS; ++t) {
                    step(t, drive[t]);
                }
            } else {
#pragma unroll
                for (int t = 0; t < STEPS; ++t) {
                    step(t, sums[t][i]);
                }
            }
        }
    }
    Out* out = static_cast<Out*>(call.out) + position * call.out_pitch + channel;
    E* after = call.after ? static_cast<E*>(call.after) + position * outputs + channel : nullptr;
    if constexpr (GRADED) {
        for (int p = 1; p < call.rule.planes; ++p) {
            write<N>(out + p * call.out_plane, cells.word[p], count);
        }
        if (after && call.rule.counted) {
            write<N>(after + call.positions * outputs, cells.emitted, count);
        }
    }
    if (count == N && aligned<N>(out) && (!after || aligned<N>(after))) {
        store<N>(out, cells.word[0]);
        if (after) {
            store<N>(after, cells.v);
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < count) {
            out[i] = static_cast<Out>(cells.word[0][i]);
            if (after) {
                after[i] = static_cast<E>(cells.v[i]);
            }
        }
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
