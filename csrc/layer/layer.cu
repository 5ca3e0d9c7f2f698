// The event-driven layer on a GPU: convolutions of packed spikes, summed, and the neurons that they feed, all T steps.
//
// A warp has one output position and N neighbouring outputs a lane; the sums of all steps are in its registers. It
// takes 32 input channels at a time, one word a lane: the ballot of a step's bits says which of them spike, and only
// the rows of weights of those are read and added. Several warps may share the sum of one position (`parts`).
#include "layer/neurons.cuh"

namespace fastsnn {
namespace device {
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

template <class W, class E, class Sum, class Out, int N, int STEPS, class Call>
FASTSNN_DEVICE void layer(const Call& call) {
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
