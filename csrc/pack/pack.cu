// Dense spikes to words, words to dense spikes, words to counts, on a GPU.
#include "common/device.cuh"

namespace fastsnn {
namespace device {

struct PackCall {
    const void* from;
    void* to;
    int64_t T, N;
};

namespace {

// steps whose spikes are on their way at once
constexpr int PACK_AHEAD = 8;

// [T, N] bytes to [N] words: N_EACH neighbours a thread, of which N is a multiple.
template <class Word, int N_EACH>
FASTSNN_DEVICE void pack(const PackCall& call) {
    const uint8_t* spikes = static_cast<const uint8_t*>(call.from);
    for (int64_t n = thread() * N_EACH; n < call.N; n += threads() * N_EACH) {
        uint32_t word[N_EACH] = {};
        for (int64_t first = 0; first < call.T; first += PACK_AHEAD) {
            Pieces<uint8_t, N_EACH> ahead[PACK_AHEAD];
#pragma unroll
            for (int s = 0; s < PACK_AHEAD; ++s) {
                if (first + s < call.T) {
                    ahead[s].piece[0] = reinterpret_cast<const typename Pieces<uint8_t, N_EACH>::type*>(
                        spikes + (first + s) * call.N + n)[0];
                }
            }
#pragma unroll
            for (int s = 0; s < PACK_AHEAD; ++s) {
                if (first + s < call.T) {
#pragma unroll
                    for (int i = 0; i < N_EACH; ++i) {
                        word[i] |= static_cast<uint32_t>(ahead[s].number[i] != 0) << (first + s);
                    }
                }
            }
        }
        store<N_EACH>(static_cast<Word*>(call.to) + n, word);
    }
}

template <class Word, int N_EACH>
FASTSNN_DEVICE void unpack(const PackCall& call) {
    for (int64_t n = thread() * N_EACH; n < call.N; n += threads() * N_EACH) {
        Word word[N_EACH];
        load<N_EACH>(word, static_cast<const Word*>(call.from) + n);
        for (int64_t t = 0; t < call.T; ++t) {
            uint32_t spike[N_EACH];
#pragma unroll
            for (int i = 0; i < N_EACH; ++i) {
                spike[i] = static_cast<uint32_t>(word[i]) >> t & 1u;
            }
            store<N_EACH>(static_cast<uint8_t*>(call.to) + t * call.N + n, spike);
        }
    }
}

template <class Word, int N_EACH>
FASTSNN_DEVICE void counts(const PackCall& call) {
    for (int64_t n = thread() * N_EACH; n < call.N; n += threads() * N_EACH) {
        Word word[N_EACH];
        int32_t count[N_EACH];
        load<N_EACH>(word, static_cast<const Word*>(call.from) + n);
#pragma unroll
        for (int i = 0; i < N_EACH; ++i) {
            count[i] = __popc(word[i]);
        }
        store<N_EACH>(static_cast<int32_t*>(call.to) + n, count);
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
