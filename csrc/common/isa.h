// What one instruction set is to a kernel text: the width of its vectors and the namespace of its copy.
//
// Every *_cpu.inc is compiled once for each instruction set, by csrc/isa/<name>.cpp, which defines FASTSNN_ISA. The
// texts use the vector extensions of GCC and clang, so that only the few lines that search bits name instructions. They
// include no standard header with inline functions: the linker keeps one copy of those, and it might be one that uses
// instructions which the processor lacks.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
// GCC takes the lanes behind the last output of a row, which are never read, for ones that are
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__AVX512BW__)
#define FASTSNN_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define FASTSNN_VECTOR_BYTES 32
#else
#define FASTSNN_VECTOR_BYTES 16
#endif

namespace fastsnn {
namespace FASTSNN_ISA {
namespace {

// Vectors of numbers of type E.
template <class E>
struct Lanes {
    static constexpr int N = FASTSNN_VECTOR_BYTES / static_cast<int>(sizeof(E));
    typedef E s __attribute__((vector_size(FASTSNN_VECTOR_BYTES)));
};

// Whole numbers of a width: `type` is what sums wrap as, `compared` what a comparison of lanes gives.
template <size_t bytes>
struct Whole;
template <>
struct Whole<2> {
    using type = uint16_t;
    using compared = int16_t;
};
template <>
struct Whole<4> {
    using type = uint32_t;
    using compared = int32_t;
};
template <>
struct Whole<8> {
    using type = uint64_t;
    using compared = int64_t;
};
template <class E>
using BitsOf = Whole<sizeof(E)>;

template <class T>
inline T smaller(T a, T b) {
    return a < b ? a : b;
}

template <class T>
inline T larger(T a, T b) {
    return a > b ? a : b;
}

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
