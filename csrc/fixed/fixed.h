// Images as fixed-point numbers, and a dense convolution (or linear layer, with one position) of these: what a layer
// reads of the image.
#pragma once

#include <cstdint>

namespace fastsnn {

struct FixedCall {
    const std::int32_t* x;       // [B, *in, C], |x| <= 2^30
    const std::int64_t* weight;  // [groups, taps, C / groups, lanes]: outputs of a group, padded; 32-bit numbers
    std::int64_t in[3], channels, out[3], outputs, groups, lanes;
    std::int64_t kernel[3], stride[3], padding[3], dilation[3];
    int shift;                                 // bits by which sums are scaled down, rounding half up; negative: up
    const std::int32_t* bias;                  // or null
    std::int64_t bias_position, bias_channel;  // 1 or 0 each: [*out, O], [O], or one number
    std::int32_t* result;                      // [B, *out, O], saturated to +-(2^30 - 1); or null
    std::int64_t* sums;                        // [B, *out, O], scaled and nothing else
};

// x * scale, rounded to nearest, halves to even, saturated to +-(2^30 - 1); what is no number is 0. Channels last.
struct ImageCall {
    const void* x;  // [B, C, positions], float or double
    double scale;
    std::int64_t channels, positions;
    std::int32_t* result;  // [B, positions, C]
};

}  // namespace fastsnn
