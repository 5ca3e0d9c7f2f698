// Neurons without weights on a GPU: integrate-and-fire over T steps, potentials and words in registers.
#include "common/cells.cuh"

namespace fastsnn {
namespace device {

// Values repeat over the neurons (see `repeated`); bias_step is how far apart the biases of two steps are, or 0.
struct NeuronCall {
    static constexpr bool GRADED = false;

    const void* currents;  // [T, N], or [N] for all steps
    const void* v;
    const void* threshold;
    const void* bias;  // or null
    void* words;       // [N / width, pitch], of which `width` are written
    void* after;       // [N] potentials after the last step, or null
    int64_t T, N, v_period, threshold_period, bias_period, bias_step, width, pitch;
    int64_t hard, strict;
};

struct GradedNeuronCall : NeuronCall {
    static constexpr bool GRADED = true;

    Rule rule;
    const void* emitted;  // [N] before the first step, or null; counts to leave lie behind potentials
    int64_t plane;        // from the words of one plane to those of the next
};

namespace {

// N neighbours a thread; where N > 1 all rows, periods of words and addresses are multiples of it.
template <class E, class Word, int N, bool CONSTANT, class Call>
FASTSNN_DEVICE void neurons(const Call& call) {
    typedef Cells<E, N, Call::GRADED> Own;
    // steps whose currents are on their way at once; each is code of its own, of which graded ones have much
    constexpr int AHEAD = Call::GRADED ? 2 : N > 4 ? 4 : 8;
    const E* currents = static_cast<const E*>(call.currents);
    const E* bias = static_cast<const E*>(call.bias);
    const bool biased = bias != nullptr, each = call.bias_step != 0;
    for (int64_t n = thread() * N; n < call.N; n += threads() * N) {
        E start[N], theta[N], add[N] = {}, drive[N];
        Own cells = {};
        repeated<N>(start, static_cast<const E*>(call.v), call.v_period, n);
        repeated<N>(theta, static_cast<const E*>(call.threshold), call.threshold_period, n);
        if (biased && !each) {
            repeated<N>(add, bias, call.bias_period, n);
        }
#pragma unroll
        for (int i = 0; i < N; ++i) {
            cells.v[i] = Own::Rules::saturate(start[i]);
            if constexpr (Call::GRADED) {
                cells.emitted[i] = call.emitted ? static_cast<const E*>(call.emitted)[n + i] : E(0);
            }
        }
        if (CONSTANT) {
            load<N>(drive, currents + n);
        }
        for (int64_t first = 0; first < call.T; first += AHEAD) {
            E ahead[AHEAD][N];
            if (!CONSTANT) {
#pragma unroll
                for (int s = 0; s < AHEAD; ++s) {
                    if (first + s < call.T) {
                        load<N>(ahead[s], currents + (first + s) * call.N + n);
                    }
                }
            }
#pragma unroll
            for (int s = 0; s < AHEAD; ++s) {
                const int64_t t = first + s;
                if (t < call.T) {
                    if (each) {
                        repeated<N>(add, bias + t * call.bias_step, call.bias_period, n);
                    }
#pragma unroll
                    for (int i = 0; i < N; ++i) {
                        const E current = driven(CONSTANT ? drive[i] : ahead[s][i], add[i]);
                        cells.step(call, i, current, theta[i], t);
                    }
                }
            }
        }
        const Division line = divide(n, call.width);
        Word* words = static_cast<Word*>(call.words) + line.quotient * call.pitch + line.rest;
        store<N>(words, cells.word[0]);
        if (call.after) {
            store<N>(static_cast<E*>(call.after) + n, cells.v);
        }
        if constexpr (Call::GRADED) {
            for (int p = 1; p < call.rule.planes; ++p) {
                store<N>(words + p * call.plane, cells.word[p]);
            }
            if (call.after && call.rule.counted) {
                store<N>(static_cast<E*>(call.after) + call.N + n, cells.emitted);
            }
        }
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
