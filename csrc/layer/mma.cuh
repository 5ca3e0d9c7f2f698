// The tensor cores' product, one warp at a time: 16 rows of spikes by 8 columns of weights, 32 bytes deep.
//
// Of a number of any width the same bytes lie in the same places, so that only the product itself depends on the type.
// Of spikes a lane holds four registers: rows lane / 4 and that + 8, bytes 4 (lane % 4) and on, then the same 16 bytes
// further; of weights two: column lane / 4, the same bytes. Of sums it holds rows lane / 4 and that + 8, columns
// 2 (lane % 4) and on. Source: PTX ISA, mma.m16n8k32 and mma.m16n8k16.
#pragma once

#include "common/device.cuh"
#include "layer/term.cuh"

namespace fastsnn {
namespace device {
namespace {

#if defined(__CUDACC_RTC__)
#define FASTSNN_MMA(shape, kind, of)                                                                                  \
    asm("mma.sync.aligned." shape ".row.col." kind " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
        : "+" of(sum[0]), "+" of(sum[1]), "+" of(sum[2]), "+" of(sum[3])                                              \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

FASTSNN_DEVICE void multiply(int32_t (&sum)[4], const uint32_t (&a)[4], const uint32_t* b, int8_t) {
    FASTSNN_MMA("m16n8k32", "s32.s8.s8.s32", "r");
}
FASTSNN_DEVICE void multiply(float (&sum)[4], const uint32_t (&a)[4], const uint32_t* b, Half) {
    FASTSNN_MMA("m16n8k16", "f32.f16.f16.f32", "f");
}
FASTSNN_DEVICE void multiply(float (&sum)[4], const uint32_t (&a)[4], const uint32_t* b, BFloat) {
    FASTSNN_MMA("m16n8k16", "f32.bf16.bf16.f32", "f");
}

// Four blocks of 8 rows of 16 bytes from shared memory: lane l says where row l % 8 of block l / 8 is, and gets of each
// block 4 bytes of row l / 4.
FASTSNN_DEVICE void load_blocks(uint32_t (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
                 : "memory");
}
#else
FASTSNN_DEVICE float as_float(int8_t, const unsigned char* at) {
    return static_cast<float>(*reinterpret_cast<const int8_t*>(at));
}
FASTSNN_DEVICE float as_float(Half, const unsigned char* at) {
    return half_to_float(*reinterpret_cast<const uint16_t*>(at));
}
FASTSNN_DEVICE float as_float(BFloat, const unsigned char* at) {
    return __uint_as_float(static_cast<uint32_t>(*reinterpret_cast<const uint16_t*>(at)) << 16);
}

template <class W, class Sum>
FASTSNN_DEVICE void multiply(Sum (&sum)[4], const uint32_t (&a)[4], const uint32_t* b, W kind) {
    const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const EmulatorLane* lanes = emulator_bring(mine, 6);
    const int lane = static_cast<int>(threadIdx.x % 32);
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4, column = 2 * (lane % 4) + i % 2;
        for (int byte = 0; byte < 32; byte += static_cast<int>(sizeof(W))) {
            const int half = byte / 16, at = byte % 16;
            const EmulatorLane& left = lanes[4 * row + at / 4];
            const EmulatorLane& right = lanes[4 * column + at / 4];
            const auto* spike = reinterpret_cast<const unsigned char*>(&left.value[2 * half + i / 2]) + at % 4;
            const auto* weight = reinterpret_cast<const unsigned char*>(&right.value[4 + half]) + at % 4;
            sum[i] += static_cast<Sum>(as_float(kind, spike) * as_float(kind, weight));
        }
    }
    emulator_leave();
}

FASTSNN_DEVICE void load_blocks(uint32_t (&to)[4], const void* row) {
    const uint64_t address = reinterpret_cast<uint64_t>(row);
    const uint32_t mine[2] = {static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32)};
    const EmulatorLane* lanes = emulator_bring(mine, 2);
    const int lane = static_cast<int>(threadIdx.x % 32);
    for (int block = 0; block < 4; ++block) {
        const EmulatorLane& from = lanes[8 * block + lane / 4];
        const uint64_t start = from.value[0] | static_cast<uint64_t>(from.value[1]) << 32;
        memcpy(&to[block], reinterpret_cast<const unsigned char*>(start) + 4 * (lane % 4), 4);
    }
    emulator_leave();
}
#endif

// One step's spikes of the numbers that a register of operands holds: 1 where the word spikes, 0 elsewhere.
FASTSNN_DEVICE uint32_t spikes_of(const uint8_t* words, int t, int8_t) {
    return *reinterpret_cast<const uint32_t*>(words) >> t & 0x01010101u;
}
FASTSNN_DEVICE uint32_t spikes_of(const uint16_t* words, int t, int8_t) {
    const uint32_t* pair = reinterpret_cast<const uint32_t*>(words);
    return __byte_perm(pair[0] >> t & 0x00010001u, pair[1] >> t & 0x00010001u, 0x6420);
}
FASTSNN_DEVICE uint32_t spikes_of(const uint32_t* words, int t, int8_t) {
    const uint32_t low = (words[0] >> t & 1u) | (words[1] >> t & 1u) << 8;
    return low | (words[2] >> t & 1u) << 16 | (words[3] >> t & 1u) << 24;
}
// 1 in 16 bits of floating point
constexpr uint32_t HALF_ONE = 0x3c00, BFLOAT_ONE = 0x3f80;
FASTSNN_DEVICE uint32_t pair_of(const uint8_t* words, int t) {
    return (words[0] >> t & 1u) | (words[1] >> t & 1u) << 16;
}
FASTSNN_DEVICE uint32_t pair_of(const uint16_t* words, int t) {
    return *reinterpret_cast<const uint32_t*>(words) >> t & 0x00010001u;
}
FASTSNN_DEVICE uint32_t pair_of(const uint32_t* words, int t) {
    return (words[0] >> t & 1u) | (words[1] >> t & 1u) << 16;
}
template <class Word>
FASTSNN_DEVICE uint32_t spikes_of(const Word* words, int t, Half) {
    return pair_of(words, t) * HALF_ONE;
}
template <class Word>
FASTSNN_DEVICE uint32_t spikes_of(const Word* words, int t, BFloat) {
    return pair_of(words, t) * BFLOAT_ONE;
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
