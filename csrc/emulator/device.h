// What a CUDA kernel finds on a CPU instead of a GPU: the words of the language, the built-in variables, the
// intrinsics.
//
// Included before the text of a kernel, which is then ordinary C++ (see runtime.cpp for how its threads run). Only what
// the kernels use is here.
#pragma once

#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
// the place is the runtime's, so that what lies behind it is watched
#define FASTSNN_SHARED(bytes) unsigned char* bytes = static_cast<unsigned char*>(emulator_shared())

struct EmulatorIndex {
    uint32_t x, y, z;
};

// The thread that runs; written by the runtime before a thread goes on.
struct EmulatorState {
    EmulatorIndex thread, block, block_size, grid_size;
};

// What a lane shows to its warp.
struct EmulatorLane {
    uint32_t value[6];
};

extern "C" {
extern EmulatorState emulator_state;
void* emulator_shared();
void emulator_block_barrier();
void emulator_warp_barrier();
// What all 32 lanes bring, `n` numbers each; it stays until the lane leaves.
const EmulatorLane* emulator_bring(const uint32_t* values, int n);
void emulator_leave();
}

#define threadIdx emulator_state.thread
#define blockIdx emulator_state.block
#define blockDim emulator_state.block_size
#define gridDim emulator_state.grid_size
#define __syncthreads() emulator_block_barrier()

#define __syncwarp() emulator_warp_barrier()

inline uint32_t __ballot_sync(uint32_t, int predicate) {
    const uint32_t vote = predicate != 0;
    const EmulatorLane* lanes = emulator_bring(&vote, 1);
    uint32_t votes = 0;
    for (int i = 0; i < 32; ++i) {
        votes |= lanes[i].value[0] << i;
    }
    emulator_leave();
    return votes;
}
inline int __any_sync(uint32_t, int predicate) {
    return __ballot_sync(~0u, predicate) != 0;
}
template <class E>
inline E __shfl_xor_sync(uint32_t, E value, int other) {
    uint32_t bits[2] = {};
    memcpy(bits, &value, sizeof value);
    const EmulatorLane* lanes = emulator_bring(bits, 2);
    memcpy(&value, lanes[static_cast<int>(threadIdx.x % 32) ^ other].value, sizeof value);
    emulator_leave();
    return value;
}
inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t selector) {
    const uint64_t bytes = low | static_cast<uint64_t>(high) << 32;
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
        result |= static_cast<uint32_t>(bytes >> 8 * (selector >> 4 * i & 7u) & 0xffu) << 8 * i;
    }
    return result;
}
inline int __popc(uint32_t bits) {
    return __builtin_popcount(bits);
}
inline int __clz(uint32_t bits) {
    return bits ? __builtin_clz(bits) : 32;
}
inline float __uint_as_float(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
inline float half_to_float(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 31u, mantissa = half & 1023u;
    if (exponent == 0) {
        const float small = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
        return sign ? -small : small;
    }
    const uint32_t scaled = exponent == 31 ? 255u : exponent + 112u;
    return __uint_as_float(sign | scaled << 23 | mantissa << 13);
}
