// What every CUDA kernel starts from: types that the run-time compiler lacks, one neuron's numbers, wide accesses.
//
// The same text is compiled by NVRTC for a GPU and, through csrc/emulator, by a C++ compiler for tests without one. No
// header of the C++ library, no texture, no intrinsic that emulator/device.h does not have.
#pragma once

#if defined(__CUDACC_RTC__)
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define FASTSNN_SHARED(bytes) extern __shared__ __align__(16) unsigned char bytes[]
__device__ __forceinline__ float half_to_float(uint16_t bits) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
    return f;
}
#endif

#define FASTSNN_ISA device
#define FASTSNN_FUNCTION __host__ __device__ __forceinline__
#define FASTSNN_DEVICE __device__ __forceinline__

#include "common/step.h"

namespace fastsnn {
namespace device {
namespace {

// What sums of a type wrap as.
template <class E>
struct Unsigned {
    typedef E type;
};
template <>
struct Unsigned<int16_t> {
    typedef uint16_t type;
};
template <>
struct Unsigned<int32_t> {
    typedef uint32_t type;
};
template <>
struct Unsigned<int64_t> {
    typedef uint64_t type;
};

// One neuron's numbers, for Step.
template <class E>
struct One {
    using number = E;
    using value = E;
    using mask = bool;
    typedef typename Unsigned<E>::type Bits;

    static FASTSNN_FUNCTION E all(E n) {
        return n;
    }
    static FASTSNN_FUNCTION E sum(E a, E b) {
        return static_cast<E>(static_cast<Bits>(a) + static_cast<Bits>(b));
    }
    static FASTSNN_FUNCTION E difference(E a, E b) {
        const E d = static_cast<E>(static_cast<Bits>(a) - static_cast<Bits>(b));
        if constexpr (Saturation<E>::on && sizeof(E) == 4) {
            // only a threshold below zero can leave 32 bits here, upwards
            return b < 0 && d < a ? Saturation<E>::limit : d;
        } else {
            return d;
        }
    }
    static FASTSNN_FUNCTION E times(E a, E by) {
        // 16 bits would become a signed number
        return static_cast<E>(1u * static_cast<Bits>(a) * static_cast<Bits>(by));
    }
    static FASTSNN_FUNCTION bool none() {
        return false;
    }
    static FASTSNN_FUNCTION bool both(bool m, bool n) {
        return m && n;
    }
    static FASTSNN_FUNCTION bool either(bool m, bool n) {
        return m || n;
    }
    static FASTSNN_FUNCTION bool without(bool m, bool n) {
        return m && !n;
    }
    static FASTSNN_FUNCTION E more(bool mask, E a, E b) {
        return sum(a, mask ? b : E(0));
    }
    static FASTSNN_FUNCTION E less(bool mask, E a, E b) {
        return difference(a, mask ? b : E(0));
    }
    static FASTSNN_FUNCTION E unless(bool mask, E v) {
        return mask ? E(0) : v;
    }
};

// The first T bits of a word.
FASTSNN_FUNCTION uint32_t first_bits(int64_t T) {
    return T >= 32 ? ~uint32_t(0) : (uint32_t(1) << T) - 1;
}

// `n` numbers that are read or written at once; more than 16 bytes in several pieces.
template <int BYTES>
struct Piece;
template <>
struct Piece<1> {
    typedef uint8_t type;
};
template <>
struct Piece<2> {
    typedef uint16_t type;
};
template <>
struct Piece<4> {
    typedef uint32_t type;
};
template <>
struct Piece<8> {
    struct alignas(8) type {
        uint32_t part[2];
    };
};
template <>
struct Piece<16> {
    struct alignas(16) type {
        uint32_t part[4];
    };
};

template <class E, int N>
struct Pieces {
    static constexpr int BYTES = sizeof(E) * N > 16 ? 16 : sizeof(E) * N;
    static constexpr int COUNT = sizeof(E) * N / BYTES;
    typedef typename Piece<BYTES>::type type;
    union {
        type piece[COUNT];
        E number[N];
    };
};

// N neighbours, which begin at a multiple of their size (of 16 bytes, where they are more).
template <int N, class E>
FASTSNN_FUNCTION void load(E* to, const E* from) {
    Pieces<E, N> p;
#pragma unroll
    for (int i = 0; i < p.COUNT; ++i) {
        p.piece[i] = reinterpret_cast<const typename Pieces<E, N>::type*>(from)[i];
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
        to[i] = p.number[i];
    }
}

// The same for numbers that are not written meanwhile, or zeros where no bit of `wanted` is set. Without a branch, so
// that several are on their way at once; a compiler would make one of what stands in for it elsewhere.
template <int N, class E>
FASTSNN_DEVICE void load_if(E* to, const E* from, uint32_t wanted) {
    Pieces<E, N> p = {};
#if defined(__CUDACC_RTC__)
#pragma unroll
    for (int i = 0; i < p.COUNT; ++i) {
        const void* at = reinterpret_cast<const char*>(from) + i * p.BYTES;
        uint32_t part[4] = {};
        if constexpr (p.BYTES == 16) {
            asm("{\n.reg .pred p;\nsetp.ne.u32 p, %5, 0;\nmov.u32 %0, 0;\nmov.u32 %1, 0;\nmov.u32 %2, 0;\nmov.u32 %3, "
                "0;\n"
                "@p ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];\n}"
                : "=&r"(part[0]), "=&r"(part[1]), "=&r"(part[2]), "=&r"(part[3])
                : "l"(at), "r"(wanted));
        } else if constexpr (p.BYTES == 8) {
            asm("{\n.reg .pred p;\nsetp.ne.u32 p, %3, 0;\nmov.u32 %0, 0;\nmov.u32 %1, 0;\n"
                "@p ld.global.nc.v2.u32 {%0, %1}, [%2];\n}"
                : "=&r"(part[0]), "=&r"(part[1])
                : "l"(at), "r"(wanted));
        } else if constexpr (p.BYTES == 4) {
            asm("{\n.reg .pred p;\nsetp.ne.u32 p, %2, 0;\nmov.u32 %0, 0;\n@p ld.global.nc.u32 %0, [%1];\n}"
                : "=&r"(part[0])
                : "l"(at), "r"(wanted));
        } else if constexpr (p.BYTES == 2) {
            asm("{\n.reg .pred p;\nsetp.ne.u32 p, %2, 0;\nmov.u32 %0, 0;\n@p ld.global.nc.u16 %0, [%1];\n}"
                : "=&r"(part[0])
                : "l"(at), "r"(wanted));
        } else {
            asm("{\n.reg .pred p;\nsetp.ne.u32 p, %2, 0;\nmov.u32 %0, 0;\n@p ld.global.nc.u8 %0, [%1];\n}"
                : "=&r"(part[0])
                : "l"(at), "r"(wanted));
        }
        p.piece[i] = *reinterpret_cast<typename Pieces<E, N>::type*>(part);
    }
#else
    if (wanted) {
        load<N>(p.number, from);
    }
#endif
#pragma unroll
    for (int i = 0; i < N; ++i) {
        to[i] = p.number[i];
    }
}

// A pointer as one number from here on: compilers like to keep its parts, and to add them up wherever it is used.
FASTSNN_DEVICE const char* whole(const char* pointer) {
#if defined(__CUDACC_RTC__)
    asm("" : "+l"(pointer));
#endif
    return pointer;
}

template <int N, class E, class From>
FASTSNN_FUNCTION void store(E* to, const From* from) {
    Pieces<E, N> p;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        p.number[i] = static_cast<E>(from[i]);
    }
#pragma unroll
    for (int i = 0; i < p.COUNT; ++i) {
        reinterpret_cast<typename Pieces<E, N>::type*>(to)[i] = p.piece[i];
    }
}

template <int N, class E>
FASTSNN_FUNCTION bool aligned(const E* at) {
    return reinterpret_cast<uint64_t>(at) % sizeof(typename Pieces<E, N>::type) == 0;
}

// Quotient and remainder; a division of 64 bits is many times slower, and seldom needed.
struct Division {
    int64_t quotient, rest;
};
FASTSNN_FUNCTION Division divide(int64_t n, int64_t by) {
    if (((n | by) >> 32) == 0) {
        const uint32_t small = static_cast<uint32_t>(n), divisor = static_cast<uint32_t>(by);
        return {small / divisor, small % divisor};
    }
    return {n / by, n % by};
}

// Neurons [n, n + N) of values that repeat: neuron n has data[n % period].
template <int N, class E>
FASTSNN_FUNCTION void repeated(E* to, const E* data, int64_t period, int64_t n) {
    if (period == 1) {
        const E one = data[0];
#pragma unroll
        for (int i = 0; i < N; ++i) {
            to[i] = one;
        }
        return;
    }
    int64_t at = divide(n, period).rest;
    if (N > 1 && period % N == 0 && aligned<N>(data)) {
        load<N>(to, data + at);
        return;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
        to[i] = data[at];
        at = at + 1 == period ? 0 : at + 1;
    }
}

FASTSNN_DEVICE int64_t thread() {
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
FASTSNN_DEVICE int64_t threads() {
    return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
