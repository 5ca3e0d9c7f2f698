// Images as fixed-point numbers, sums of such numbers, and a dense convolution (or linear layer, with one position) of
// these: what a layer reads of the image.
#pragma once

#include <cstdint>

#include "layer/tiles.h"

namespace fastsnn {

// Digits of 8 bits that a number of 32 has.
constexpr std::int64_t NUMBER_DIGITS = 4;

// Rows of outputs are computed; where it is by digits, groups of TILE_ROWS positions.
struct FixedCall {
    const std::int32_t* x;       // [B, *in, C], |x| <= 2^30
    const std::int32_t* weight;  // [groups, blocks, taps, C / groups, 16]: of 16 outputs, 0, 8, 1, 9, .., 7, 15
    bool depthwise;              // outputs have one channel each: weight is [blocks, taps, 16], of 16 channels
    bool pointwise;              // positions are rows, and have no tap but themselves
    std::int64_t in[3], channels, out[3], outputs, groups;
    std::int64_t kernel[3], stride[3], padding[3], dilation[3];
    int shift;                                 // bits by which sums are scaled down, rounding half up; negative: up
    const std::int32_t* bias;                  // or null
    std::int64_t bias_position, bias_channel;  // 1 or 0 each: [*out, O], [O], or one number
    std::int32_t* result;                      // [B, *out, O], saturated to +-(2^30 - 1); or null
    std::int64_t* sums;                        // [B, *out, O], scaled and nothing else
    // where there are planes of them, weights are [16 outputs][plane], tiles as in layer/tiles.h, in place of `weight`
    const char* digits;
    std::int64_t planes, positions, deep, together;  // positions of all images; tiles of one; groups that share weights
    Tiles tiles;
    char* scratch;  // 4 deep numbers of a tile each, and the digits of `together` groups
};

// x * scale, rounded to nearest, halves to even, saturated to +-(2^30 - 1); what is no number is 0. Channels last.
struct ImageCall {
    const void* x;  // [B, C, positions], float or double
    double scale;
    std::int64_t channels, positions;
    std::int32_t* result;  // [B, positions, C]
};

// weight * x, scaled down by 2^shift, halves up.
struct ScaledTerm {
    const std::int32_t* x;       // [N]
    const std::int32_t* weight;  // [period]: element n has number n % period
    std::int64_t period;
    int shift;
};

// Sums, element by element.
struct TotalsCall {
    const ScaledTerm* term;
    std::int64_t terms;
    const std::int64_t* const* other;  // [N] each
    std::int64_t others;
    const std::int32_t* narrow;  // [N], or null
    const std::int32_t* bias;    // [bias_period], or null
    std::int64_t bias_period;
    bool bias_last;        // whether sums saturate before it is added as well, as currents of neurons do
    std::int32_t* result;  // [N], saturated to +-(2^30 - 1)
};

// Of one number, or of two.
enum class Function { product, hardswish, hardsigmoid, sigmoid, silu, tanh, elu, mish, softplus, gelu, gelu_tanh };

// round(n f(m) 2^E) at each step less that of the step before, m the sums over the n steps so far, over n 2^E.
struct ChangesCall {
    const std::int32_t* x;  // [T, N]
    const std::int32_t* y;  // the second factor of a product: [T, M]
    std::int64_t T, N, M;
    std::int64_t row, spread;         // elements of a row; rows of x that one of y is for
    double one;                       // 2^E
    const double* steps;              // [T + 1], n before these steps and after each of them
    const std::int64_t* x_before;     // [N]
    const std::int64_t* y_before;     // [M]
    const double* last_before;        // [N]; null: these are the first steps
    std::int64_t *x_after, *y_after;  // alike, after the last
    double* last_after;
    std::int32_t* result;  // [T, N], saturated to +-(2^30 - 1)
};

// Sums over the n steps so far, over n 2^E: what PyTorch makes a function of.
struct MeansCall {
    const std::int32_t* x;  // [T, N]
    std::int64_t T, N;
    double one;                  // 2^E
    const double* steps;         // [T + 1], n before these steps and after each of them
    const std::int64_t* before;  // [N] sums, or null: these are the first steps
    std::int64_t* after;
    double* result;  // [T, N]
};

// round(n f 2^E) at each step less that of the step before; an f that is not finite counts as 0.
struct DifferencesCall {
    const double* value;  // [T, N]
    std::int64_t T, N;
    double one;
    const double* steps;
    const double* before;  // [N] of the step before these, or null
    double* after;
    std::int32_t* result;  // [T, N], saturated to +-(2^30 - 1)
};

}  // namespace fastsnn
