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

extern "C" {
extern EmulatorState emulator_state;
void* emulator_shared();
void emulator_block_barrier();
uint32_t emulator_ballot(int predicate);
uint64_t emulator_exchange(uint64_t value, int from);
}

#define threadIdx emulator_state.thread
#define blockIdx emulator_state.block
#define blockDim emulator_state.block_size
#define gridDim emulator_state.grid_size
#define __syncthreads() emulator_block_barrier()

inline uint32_t __ballot_sync(uint32_t, int predicate) {
    return emulator_ballot(predicate);
}
inline int __any_sync(uint32_t, int predicate) {
    return emulator_ballot(predicate) != 0;
}
template <class E>
inline E __shfl_xor_sync(uint32_t, E value, int other) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = emulator_exchange(bits, static_cast<int>(threadIdx.x % 32) ^ other);
    memcpy(&value, &bits, sizeof value);
    return value;
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
