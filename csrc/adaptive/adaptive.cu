// Neurons whose threshold follows potential and current, on a GPU: a neuron a thread, its words in registers.
#include "common/device.cuh"
// takes FASTSNN_FUNCTION from above
#include "adaptive/threshold.h"

namespace fastsnn {
namespace device {

// bias_step is how far apart the biases of two steps are, or 0; current_step N or 0.
struct AdaptiveCall {
    const void* currents;
    const void* v;     // [N] potentials that repeat where first is 0, else [2, N] with sums of them
    const void* bias;  // or null; repeats
    void* words;       // [9, N]
    void* after;       // [2, N]
    int64_t T, N, first, current_step, v_period, bias_period, bias_step;
    AdaptiveNumbers numbers;
};

namespace {

template <class E, class Word>
FASTSNN_DEVICE void adaptive(const AdaptiveCall& call) {
    typedef Threshold<E, E, typename Format<E>::Bits> Own;
    const E* currents = static_cast<const E*>(call.currents);
    const E* bias = static_cast<const E*>(call.bias);
    const E* start = static_cast<const E*>(call.v);
    for (int64_t n = thread(); n < call.N; n += threads()) {
        E v[1], add[1] = {}, total = 0;
        if (call.first) {
            v[0] = start[n];
            total = start[call.N + n];
        } else {
            repeated<1>(v, start, call.v_period, n);
        }
        if (bias) {
            repeated<1>(add, bias, call.bias_period, n);
        }
        uint32_t word[ADAPTIVE_PLANES] = {};
        for (int64_t t = 0; t < call.T; ++t) {
            if (bias && call.bias_step) {
                repeated<1>(add, bias + t * call.bias_step, call.bias_period, n);
            }
            const int64_t before = call.first + t;
            const E current = currents[t * call.current_step + n] + add[0];
            const E mean = before ? static_cast<E>(1.0 / static_cast<double>(before)) : E(0);
            const E level = before ? Own::at(v[0] - total * mean, current, call.numbers) : E(256);
            v[0] += current;
            const E emitted = v[0] >= level ? level : E(0);
            v[0] -= emitted;
            total += v[0];
            const uint32_t whole = static_cast<uint32_t>(Own::whole(emitted));
#pragma unroll
            for (int p = 0; p < ADAPTIVE_PLANES; ++p) {
                word[p] |= (whole >> (ADAPTIVE_PLANES - 1 - p) & 1u) << t;
            }
        }
#pragma unroll
        for (int p = 0; p < ADAPTIVE_PLANES; ++p) {
            static_cast<Word*>(call.words)[p * call.N + n] = static_cast<Word>(word[p]);
        }
        static_cast<E*>(call.after)[n] = v[0];
        static_cast<E*>(call.after)[call.N + n] = total;
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
