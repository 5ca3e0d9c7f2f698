// The last linear layer on a GPU: spikes counted into shared memory, then multiplied by rows of weights.
#include "common/device.cuh"

namespace fastsnn {
namespace device {

struct ReadoutCall {
    const void* words;      // [B, K]
    const void* weight;     // [O, K]
    const void* bias;       // [O] or null
    const int32_t* counts;  // [B, K] spikes before these steps
    int32_t* after;         // [B, K]
    void* logits;           // [B, O], or [T, B, O] over time
    int64_t batch, inputs, outputs, T, before;
};

namespace {

constexpr int READERS = 256;
// inputs whose counts are in shared memory at once
constexpr int DEPTH = 512;

// Adds up over the lanes of a warp: of N numbers, n comes to lanes n * 32 / N and the ones after it. Every exchange
// halves what a lane has left to add, so that 32 numbers take 31 of them and not 160. HALF begins as N / 2, OTHER
// as 16.
template <int HALF, int OTHER, class E, int N>
FASTSNN_DEVICE E over_lanes(E (&part)[N], int lane) {
    if constexpr (HALF > 0) {
        const bool upper = lane & OTHER;
#pragma unroll
        for (int n = 0; n < HALF; ++n) {
            const E given = upper ? part[n] : part[n + HALF], kept = upper ? part[n + HALF] : part[n];
            part[n] = kept + __shfl_xor_sync(~0u, given, OTHER);
        }
        return over_lanes<HALF / 2, OTHER / 2>(part, lane);
    } else if constexpr (OTHER > 0) {
        part[0] += __shfl_xor_sync(~0u, part[0], OTHER);
        return over_lanes<0, OTHER / 2>(part, lane);
    } else {
        return part[0];
    }
}

// A row is an image, or (CURVE) a step of an image. A block has ROWS rows and EACH outputs for each of its warps.
template <class E, class Word, bool CURVE, int ROWS, int EACH>
FASTSNN_DEVICE void readout(const ReadoutCall& call) {
    FASTSNN_SHARED(bytes);
    E* counted = reinterpret_cast<E*>(bytes);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, WARPS = READERS / 32;
    const int64_t rows = CURVE ? call.batch * call.T : call.batch, first = static_cast<int64_t>(blockIdx.x) * ROWS;
    const int64_t output = static_cast<int64_t>(blockIdx.y) * WARPS * EACH + warp;
    const Word* words = static_cast<const Word*>(call.words);
    const E* weight = static_cast<const E*>(call.weight);
    E sum[EACH * ROWS] = {};
    for (int64_t k0 = 0; k0 < call.inputs; k0 += DEPTH) {
        const int n = static_cast<int>(call.inputs - k0 < DEPTH ? call.inputs - k0 : DEPTH);
        __syncthreads();
        for (int r = 0; r < ROWS; ++r) {
            const Division of = CURVE ? divide(first + r, call.T) : Division{first + r, call.T - 1};
            for (int k = threadIdx.x; k < n; k += READERS) {
                int32_t count = 0;
                if (first + r < rows) {
                    const int64_t at = of.quotient * call.inputs + k0 + k;
                    count = call.counts[at] + __popc(words[at] & first_bits(of.rest + 1));
                    // each count has one block to write it
                    if (blockIdx.y == 0 && of.rest == call.T - 1) {
                        call.after[at] = count;
                    }
                }
                counted[r * DEPTH + k] = static_cast<E>(count);
            }
        }
        __syncthreads();
        for (int k = lane; k < n; k += 32) {
            E count[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                count[r] = counted[r * DEPTH + k];
            }
#pragma unroll
            for (int e = 0; e < EACH; ++e) {
                const int64_t o = output + e * WARPS;
                const E w = o < call.outputs ? weight[o * call.inputs + k0 + k] : E(0);
#pragma unroll
                for (int r = 0; r < ROWS; ++r) {
                    sum[e * ROWS + r] += count[r] * w;
                }
            }
        }
    }
    const E total = over_lanes<EACH * ROWS / 2, 16>(sum, lane);
    constexpr int LANES = 32 / (EACH * ROWS);
    const int e = lane / LANES / ROWS, r = lane / LANES % ROWS;
    const int64_t o = output + e * WARPS;
    if (lane % LANES == 0 && first + r < rows && o < call.outputs) {
        const Division of = CURVE ? divide(first + r, call.T) : Division{first + r, call.T - 1};
        const E mean = total / static_cast<E>(call.before + of.rest + 1);
        const int64_t at = ((CURVE ? of.rest * call.batch : 0) + of.quotient) * call.outputs + o;
        static_cast<E*>(call.logits)[at] = call.bias ? mean + static_cast<const E*>(call.bias)[o] : mean;
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
