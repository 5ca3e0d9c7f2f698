// Where neurons start that run again, on a GPU: one pass over what all steps of the first run left.
#include "common/device.cuh"
#include "restart/offset.h"

namespace fastsnn {
namespace device {

struct RestartCall {
    const void* words[MOST_SEEN];  // of each step [N], whose first bit is that of the step
    const void* v[MOST_SEEN];      // of each step [N]
    const void* threshold;         // both repeat, see `repeated`
    const void* start;
    void* out;  // [N]
    int64_t N, steps, threshold_period, start_period;
};

namespace {

// N neighbours a thread, of which all neurons and addresses are a multiple.
template <class E, class Word, int N>
FASTSNN_DEVICE void restart(const RestartCall& call) {
    for (int64_t n = thread() * N; n < call.N; n += threads() * N) {
        E v[N], theta[N], start[N];
        Seen<double> run[N];
        repeated<N>(theta, static_cast<const E*>(call.threshold), call.threshold_period, n);
        repeated<N>(start, static_cast<const E*>(call.start), call.start_period, n);
        for (int64_t t = 0; t < call.steps; ++t) {
            Word word[N];
            load<N>(word, static_cast<const Word*>(call.words[t]) + n);
            load<N>(v, static_cast<const E*>(call.v[t]) + n);
#pragma unroll
            for (int i = 0; i < N; ++i) {
                run[i].see((word[i] & 1) != 0, static_cast<double>(v[i]), static_cast<double>(theta[i]));
            }
        }
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const double off = run[i].offset(static_cast<double>(v[i]), static_cast<double>(theta[i]));
            start[i] = static_cast<E>(started<E>(static_cast<double>(start[i]) + off));
        }
        store<N>(static_cast<E*>(call.out) + n, start);
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
