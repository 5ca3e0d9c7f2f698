// Spikes of neurons that know all of their input, on a GPU: one pass over words and potentials.
#include "common/device.cuh"
#include "emit/spikes.h"

namespace fastsnn {
namespace device {

struct EmitCall {
    const void* words;      // [N] of the first run
    const void* v;          // [N] its last potentials
    const void* threshold;  // repeats, see `repeated`
    void* out;              // words [N]
    int64_t N, T, threshold_period;
    int64_t key;  // of the seed, for the first step
};

namespace {

// N neighbours a thread, of which all neurons and addresses are a multiple.
template <class E, class Word, int N, bool RANDOM>
FASTSNN_DEVICE void emit(const EmitCall& call) {
    const uint32_t used = first_bits(call.T);
    for (int64_t n = thread() * N; n < call.N; n += threads() * N) {
        Word word[N];
        E v[N], theta[N];
        uint32_t found[N] = {};
        load<N>(word, static_cast<const Word*>(call.words) + n);
        load<N>(v, static_cast<const E*>(call.v) + n);
        repeated<N>(theta, static_cast<const E*>(call.threshold), call.threshold_period, n);
        if constexpr (RANDOM) {
            double left[N];
#pragma unroll
            for (int i = 0; i < N; ++i) {
                left[i] = static_cast<double>(v[i]) / static_cast<double>(theta[i]) + __popc(word[i] & used);
            }
            uint32_t key = static_cast<uint32_t>(call.key);
            for (int64_t t = 0; t < call.T; ++t) {
                const double steps = static_cast<double>(call.T - t);
#pragma unroll
                for (int i = 0; i < N; ++i) {
                    const uint32_t hash = hashed(static_cast<uint32_t>(n + i) * HASH_SPREAD + key);
                    const uint32_t fires = static_cast<double>(hash) * (1 / 4294967296.0) < left[i] / steps;
                    left[i] -= fires;
                    found[i] |= fires << t;
                }
                key += HASH_STEP;
            }
        } else {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                const double held = static_cast<double>(v[i]), unit = static_cast<double>(theta[i]);
                double whole = rounded_down(held / unit);
                if constexpr (sizeof(E) == 8) {
                    whole = corrected(whole, held, unit);
                }
                const int32_t spikes = __popc(word[i] & used) + static_cast<int32_t>(whole);
                const int32_t T = static_cast<int32_t>(call.T);
                found[i] = in_order(spikes < 0 ? 0 : spikes < T ? spikes : T);
            }
        }
        store<N>(static_cast<Word*>(call.out) + n, found);
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
