// The event-driven layer on a GPU: convolutions of packed spikes, summed, and the neurons that they feed, all T steps.
//
// A warp has one output position and N neighbouring outputs a lane; the sums of all steps are in its registers. It
// takes 32 input channels at a time, one word a lane: the ballot of a step's bits says which of them spike, and only
// the rows of weights of those are read and added. Several warps may share the sum of one position (`parts`).
#include "common/device.cuh"
#include "layer/term.cuh"

namespace fastsnn {
namespace device {

// Values repeat over the positions: that of position p is at [p % repeat], for each output.
struct LayerCall {
    const void* words[MOST_INPUTS];    // [B, *in, pitch] each: of the events, then of the looks
    const void* weights[MOST_INPUTS];  // of events [groups, taps, channels, row] of W; of looks [taps, outputs] of Tap
    const void* v;
    const void* threshold;
    const void* bias;  // or null
    void* out;         // words [positions, out_pitch], of which `outputs` are written
    void* after;       // [positions, outputs] potentials after the last step, or null
    int64_t pitch[MOST_INPUTS];
    int64_t positions, v_repeat, threshold_repeat, bias_repeat, bias_step, out_pitch;
    int32_t word_bytes[MOST_INPUTS];
    Window window[MOST_INPUTS];
    int32_t events, looks, T, outputs, groups, row, parts, hard, strict, size[3];
};

namespace {

constexpr int WARPS = 8;
// rows of weights that are on their way at once
constexpr int ROWS_AHEAD = 4;

// Adds what the spikes of one event input drive a position with: chunks of 32 channels, each `parts`-th to this warp.
template <class W, class Sum, int N, int STEPS>
FASTSNN_DEVICE void gather(const LayerCall& call, int input, const Place& at, int group, int output, int part,
                           int& chunk, Sum (&sums)[STEPS][N]) {
    const Window& w = call.window[input];
    const int lane = threadIdx.x % 32;
    const int taps = (w.kernel[0] / w.pool[0]) * (w.kernel[1] / w.pool[1]) * (w.kernel[2] / w.pool[2]);
    const uint32_t row_bytes = call.row * sizeof(W);
    const char* weights = static_cast<const char*>(call.weights[input]) +
                          int64_t(group * taps) * w.channels * row_bytes + output * sizeof(W);
    const uint32_t used = first_bits(call.T);
    taps_of(w, at, [&](int64_t position, int tap) {
        for (int first = 0; first < w.channels; first += 32) {
            if (chunk++ % call.parts != part || position < 0) {
                continue;
            }
            uint32_t word = 0;
            if (first + lane < w.channels) {
                const int64_t place = position * call.pitch[input] + group * w.channels + first + lane;
                word = word_at(call.words[input], call.word_bytes[input], place) & used;
            }
            if (!__any_sync(~0u, word != 0)) {
                continue;
            }
            const char* rows = whole(weights + int64_t(tap * w.channels + first) * row_bytes);
#pragma unroll
            for (int t = 0; t < STEPS; ++t) {
                uint32_t spikes = __ballot_sync(~0u, word >> t & 1u);
                while (spikes) {
                    W row[ROWS_AHEAD][N];
#pragma unroll
                    for (int r = 0; r < ROWS_AHEAD; ++r) {
                        // where none is left, the first one's row is not read
                        const uint32_t channel = 31u - __clz(spikes | 1u);
                        load_if<N>(row[r], reinterpret_cast<const W*>(rows + uint64_t(channel) * row_bytes), spikes);
                        spikes &= ~(1u << channel);
                    }
#pragma unroll
                    for (int r = 0; r < ROWS_AHEAD; ++r) {
#pragma unroll
                        for (int i = 0; i < N; ++i) {
                            sums[t][i] = One<Sum>::sum(sums[t][i], widened<Sum>(row[r][i]));
                        }
                    }
                }
            }
        }
    });
}

// Adds up the sums of the warps that share a position, always in the same order; the first of them has the result.
template <class Sum, int N, int STEPS>
FASTSNN_DEVICE void join(int parts, int part, int group, Sum (&sums)[STEPS][N]) {
    FASTSNN_SHARED(bytes);
    const int lane = threadIdx.x % 32;
    for (int half = parts / 2; half > 0; half /= 2) {
        Sum* room = reinterpret_cast<Sum*>(bytes) + (group * half + part % half) * (STEPS * 32 * N) + lane * N;
        __syncthreads();
        if (part >= half && part < 2 * half) {
#pragma unroll
            for (int t = 0; t < STEPS; ++t) {
                store<N>(room + t * 32 * N, sums[t]);
            }
        }
        __syncthreads();
        if (part < half) {
#pragma unroll
            for (int t = 0; t < STEPS; ++t) {
                Sum other[N];
                load<N>(other, room + t * 32 * N);
#pragma unroll
                for (int i = 0; i < N; ++i) {
                    sums[t][i] = One<Sum>::sum(sums[t][i], other[i]);
                }
            }
        }
    }
}

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

// Runs the neurons [channel, channel + count) of a position over the steps of their sums.
template <class E, class Sum, class Out, int N, int STEPS>
FASTSNN_DEVICE void fire(const LayerCall& call, int64_t position, int64_t channel, int count,
                         const Sum (&sums)[STEPS][N]) {
    const int64_t outputs = int64_t(call.outputs) * call.groups;
    const auto place = [&](int64_t repeat) {
        return (repeat == 1 ? 0 : divide(position, repeat).rest) * outputs + channel;
    };
    const E* start = static_cast<const E*>(call.v) + place(call.v_repeat);
    const E* thresholds = static_cast<const E*>(call.threshold) + place(call.threshold_repeat);
    const E* bias = call.bias ? static_cast<const E*>(call.bias) + place(call.bias_repeat) : nullptr;
    uint32_t word[N] = {};
    E v[N] = {};
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < count) {
            const E theta = thresholds[i];
            v[i] = Step<One<E>>::saturate(start[i]);
            E add = bias ? bias[i] : E(0);
#pragma unroll
            for (int t = 0; t < STEPS; ++t) {
                if (t < call.T) {
                    if (call.bias_step) {
                        add = bias[t * call.bias_step + i];
                    }
                    const E current = as_current<E>(One<Sum>::sum(sums[t][i], static_cast<Sum>(add)));
                    v[i] = One<E>::sum(v[i], current);
                    const bool fired = Step<One<E>>::fire(v[i], theta, call.hard != 0, call.strict != 0);
                    word[i] |= static_cast<uint32_t>(fired) << t;
                }
            }
        }
    }
    Out* out = static_cast<Out*>(call.out) + position * call.out_pitch + channel;
    E* after = call.after ? static_cast<E*>(call.after) + position * outputs + channel : nullptr;
    if (count == N && aligned<N>(out) && (!after || aligned<N>(after))) {
        store<N>(out, word);
        if (after) {
            store<N>(after, v);
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < count) {
            out[i] = static_cast<Out>(word[i]);
            if (after) {
                after[i] = v[i];
            }
        }
    }
}

template <class W, class E, class Sum, class Out, int N, int STEPS>
FASTSNN_DEVICE void layer(const LayerCall& call) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, part = warp % call.parts, own = warp / call.parts;
    const int64_t together = WARPS / call.parts, across = (call.positions + together - 1) / together;
    const int blocks = (call.outputs + 32 * N - 1) / (32 * N);
    for (int64_t tile = blockIdx.x; tile < across * blocks * call.groups; tile += gridDim.x) {
        // neighbours share weights, which a multiprocessor then finds in its cache
        const Division which = divide(tile, across);
        const int group = static_cast<int>(which.quotient) / blocks, block = static_cast<int>(which.quotient) % blocks;
        const int64_t position = which.rest * together + own;
        const int output = (block * 32 + lane) * N;
        const int count = call.outputs - output < N ? call.outputs - output : N;
        Sum sums[STEPS][N] = {};
        Place at = {};
        if (position < call.positions) {
            at = place_of(position, call.size);
            int chunk = 0;
            for (int i = 0; i < call.events; ++i) {
                gather<W>(call, i, at, group, count > 0 ? output : 0, part, chunk, sums);
            }
        }
        join(call.parts, part, own, sums);
        if (part == 0 && position < call.positions && count > 0) {
            const int64_t channel = int64_t(group) * call.outputs + output;
            for (int i = 0; i < call.looks; ++i) {
                look(call, call.events + i, at, channel, count, sums);
            }
            fire<E, Sum, Out>(call, position, channel, count, sums);
        }
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
