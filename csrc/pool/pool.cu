// Pooling of words on a GPU: neighbouring channels to a thread, windows in a loop.
#include "pool/window.cuh"

namespace fastsnn {
namespace device {

namespace {

// The OR of a window's words, or the number of its spikes; N neighbouring channels a thread, of which C is a multiple.
template <class In, class Out, int N, bool COUNT>
FASTSNN_DEVICE void pool(const PoolCall& p) {
    const In* words = static_cast<const In*>(p.words);
    const uint32_t used = first_bits(p.T);
    const int64_t blocks = p.channels / N, all = p.images * p.out[0] * p.out[1] * p.out[2] * blocks;
    for (int64_t n = thread(); n < all; n += threads()) {
        const Division place = divide(n, blocks);
        uint32_t result[N] = {};
        window(p, place.quotient, place.rest * N, [&](int64_t at) {
            In word[N];
            load<N>(word, words + at);
#pragma unroll
            for (int i = 0; i < N; ++i) {
                const uint32_t bits = word[i] & used;
                if (COUNT) {
                    result[i] += static_cast<uint32_t>(__popc(bits));
                } else {
                    result[i] |= bits;
                }
            }
        });
        store<N>(static_cast<Out*>(p.result) + n * N, result);
    }
}

// The spikes of the input that has spiked most so far; up to STEPS steps, one channel a thread.
template <class In, class Out, int STEPS>
FASTSNN_DEVICE void gate(const PoolCall& p) {
    const In* words = static_cast<const In*>(p.words);
    const int64_t all = p.images * p.out[0] * p.out[1] * p.out[2] * p.channels;
    for (int64_t n = thread(); n < all; n += threads()) {
        const Division place = divide(n, p.channels);
        // the most spikes up to each step; padding has none at all: it never wins
        int32_t most[STEPS];
        uint32_t passed = 0;
#pragma unroll
        for (int t = 0; t < STEPS; ++t) {
            most[t] = -2147483647 - 1;
        }
        window(p, place.quotient, place.rest, [&](int64_t at) {
            const uint32_t word = words[at];
            int32_t count = p.counts[at];
#pragma unroll
            for (int t = 0; t < STEPS; ++t) {
                const uint32_t spike = word >> t & 1u;
                count += static_cast<int32_t>(spike);
                // of equals the first in the window stays
                if (count > most[t]) {
                    most[t] = count;
                    passed = (passed & ~(uint32_t(1) << t)) | spike << t;
                }
            }
        });
        static_cast<Out*>(p.result)[n] = static_cast<Out>(passed & first_bits(p.T));
    }
}

// The spikes of every input after these steps, int32; N neighbours a thread, of which all inputs are a multiple.
template <class In, int N>
FASTSNN_DEVICE void counted(const PoolCall& p) {
    const int64_t all = p.images * p.in[0] * p.in[1] * p.in[2] * p.channels;
    const uint32_t used = first_bits(p.T);
    for (int64_t n = thread() * N; n < all; n += threads() * N) {
        In word[N];
        int32_t count[N];
        load<N>(word, static_cast<const In*>(p.words) + n);
        load<N>(count, p.counts + n);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            count[i] += __popc(word[i] & used);
        }
        store<N>(static_cast<int32_t*>(p.result) + n, count);
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
