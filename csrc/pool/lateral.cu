// What the largest sum of each window changes by, on a GPU: one window and channel a thread.
#include "pool/window.cuh"

namespace fastsnn {
namespace device {

struct LateralCall {
    PoolCall pool;  // words [planes, B, *in, C] and result [planes, B, *out, C]; counts are sums of what was emitted
    int64_t planes, word_plane, result_plane;  // from one plane's words to the next one's
    int32_t amplitude[MOST_PLANES];
};

namespace {

// Up to STEPS steps.
template <class In, class Out, int STEPS>
FASTSNN_DEVICE void lateral(const LateralCall& call) {
    const PoolCall& p = call.pool;
    const In* words = static_cast<const In*>(p.words);
    const int64_t all = p.images * p.out[0] * p.out[1] * p.out[2] * p.channels;
    for (int64_t n = thread(); n < all; n += threads()) {
        const Division place = divide(n, p.channels);
        // the largest sum before the first step and after each; of a window without inputs it does not change
        int32_t first = -2147483647 - 1, most[STEPS];
#pragma unroll
        for (int t = 0; t < STEPS; ++t) {
            most[t] = first;
        }
        window(p, place.quotient, place.rest, [&](int64_t at) {
            int32_t emitted[STEPS] = {};
            for (int64_t plane = 0; plane < call.planes; ++plane) {
                const uint32_t word = words[plane * call.word_plane + at];
                const int32_t amplitude = call.amplitude[plane];
#pragma unroll
                for (int t = 0; t < STEPS; ++t) {
                    emitted[t] += word >> t & 1u ? amplitude : 0;
                }
            }
            int32_t sum = p.counts[at];
            first = sum > first ? sum : first;
#pragma unroll
            for (int t = 0; t < STEPS; ++t) {
                sum += emitted[t];
                most[t] = sum > most[t] ? sum : most[t];
            }
        });
        // what it changes by, of which each plane takes its share
#pragma unroll
        for (int t = STEPS - 1; t > 0; --t) {
            most[t] -= most[t - 1];
        }
        most[0] -= first;
        Out* result = static_cast<Out*>(p.result) + n;
        for (int64_t plane = 0; plane < call.planes; ++plane) {
            const int32_t amplitude = call.amplitude[plane];
            uint32_t word = 0;
#pragma unroll
            for (int t = 0; t < STEPS; ++t) {
                const bool fired = amplitude > 0 ? most[t] >= amplitude : most[t] <= amplitude;
                most[t] -= fired ? amplitude : 0;
                word |= static_cast<uint32_t>(fired) << t;
            }
            result[plane * call.result_plane] = static_cast<Out>(word & first_bits(p.T));
        }
    }
}

// What every input has emitted after these steps, int32; N neighbours a thread, of which all inputs are a multiple.
template <class In, int N>
FASTSNN_DEVICE void lateral_sums(const LateralCall& call) {
    const PoolCall& p = call.pool;
    const int64_t all = p.images * p.in[0] * p.in[1] * p.in[2] * p.channels;
    const uint32_t used = first_bits(p.T);
    for (int64_t n = thread() * N; n < all; n += threads() * N) {
        int32_t sum[N];
        load<N>(sum, p.counts + n);
        for (int64_t plane = 0; plane < call.planes; ++plane) {
            In word[N];
            load<N>(word, static_cast<const In*>(p.words) + plane * call.word_plane + n);
#pragma unroll
            for (int i = 0; i < N; ++i) {
                sum[i] += __popc(word[i] & used) * call.amplitude[plane];
            }
        }
        store<N>(static_cast<int32_t*>(p.result) + n, sum);
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
