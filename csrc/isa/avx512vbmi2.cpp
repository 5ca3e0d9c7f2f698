// Compiled with the flags that setup.py gives to this file: AVX-512 that also compresses bytes and counts bits; and, if
// the compiler knows them, the registers of matrices.
#if defined(__x86_64__)
#include "common/matrices.h"

#define FASTSNN_ISA isa_avx512vbmi2
#define FASTSNN_TABLE avx512vbmi2

static bool supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vpopcntdq") &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("popcnt");
}

#include "isa/kernels.inc"

// The same kernels, with products in the processor's registers.
static bool with_tiles() {
#if defined(__AMX_INT8__)
    return supported() && fastsnn::matrices_available();
#else
    return false;
#endif
}

namespace fastsnn {

constexpr Kernels amx = FASTSNN_ISA::table("amx", Tiles::hardware, with_tiles);

}  // namespace fastsnn
#endif
