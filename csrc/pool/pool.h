// Windows over packed spikes.
#pragma once

#include <cstdint>

namespace fastsnn {

enum class PoolKind { any, gate, counts };

struct PoolCall {
    const void* words;  // [B, *in, C]
    int word_bytes;
    std::int64_t in[3], out[3], channels;
    std::int64_t kernel[3], stride[3], padding[3], dilation[3];
    std::int64_t T;
    const std::int32_t* so_far;  // gate: [B, *in, C], spikes of each input before these steps; counts: what they are
                                 // added to, [B, *out, C], or null
    void* result;                // words [B, *out, C]; counts: int32
    int result_bytes;
};

struct LateralCall {
    PoolCall pool;  // words [planes, B, *in, C] and result [planes, B, *out, C]; so_far are sums of what was emitted
    std::int64_t planes, word_plane, result_plane;  // from one plane's words to the next one's
    const std::int32_t* amplitude;                  // of each plane, in thresholds
};

}  // namespace fastsnn
