// A dense convolution of fixed-point numbers on a GPU: exact products of 32 bits, summed in 64.
#include "common/cells.cuh"

namespace fastsnn {
namespace device {

struct FixedCall {
    const int32_t* x;       // [B, *in, C], |x| <= 2^30
    const int32_t* weight;  // [taps, C / groups, O]
    const int32_t* bias;    // repeats over [B, *out, O]
    int32_t* result;        // [B, *out, O], saturated to +-(2^30 - 1)
    int64_t images, channels, outputs, groups, shift, bias_period;
    int32_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
};

namespace {

// (sum scaled down by 2^shift, rounding half up); up where shift is negative.
FASTSNN_FUNCTION int64_t scaled(int64_t sum, int64_t shift) {
    if (shift > 0) {
        return (sum + (int64_t(1) << (shift - 1))) >> shift;
    }
    // a sum that leaves 64 bits here is far beyond the saturation that follows
    const int64_t most = int64_t(1) << 62, room = most >> -shift;
    return sum > room ? most : sum < -room ? -most : sum * (int64_t(1) << -shift);
}

// One output of one position a thread: neighbours share the position, and read neighbouring weights.
FASTSNN_DEVICE void fixed(const FixedCall& f) {
    const int64_t own = f.channels / f.groups, per_group = f.outputs / f.groups;
    const int64_t all = f.images * f.out[0] * f.out[1] * f.out[2] * f.outputs;
    for (int64_t n = thread(); n < all; n += threads()) {
        const Division place = divide(n, f.outputs), row = divide(place.quotient, f.out[2]);
        const Division plane = divide(row.quotient, f.out[1]), image = divide(plane.quotient, f.out[0]);
        const int64_t o = place.rest, channel = divide(o, per_group).quotient * own;
        const int32_t* weight = f.weight + o;
        int64_t sum = 0;
        for (int kz = 0; kz < f.kernel[0]; ++kz) {
            const int z = static_cast<int>(image.rest) * f.stride[0] - f.padding[0] + kz * f.dilation[0];
            for (int ky = 0; ky < f.kernel[1]; ++ky) {
                const int y = static_cast<int>(plane.rest) * f.stride[1] - f.padding[1] + ky * f.dilation[1];
                for (int kx = 0; kx < f.kernel[2]; ++kx, weight += own * f.outputs) {
                    const int x = static_cast<int>(row.rest) * f.stride[2] - f.padding[2] + kx * f.dilation[2];
                    if (z < 0 || z >= f.in[0] || y < 0 || y >= f.in[1] || x < 0 || x >= f.in[2]) {
                        continue;
                    }
                    const int64_t position = ((image.quotient * f.in[0] + z) * f.in[1] + y) * f.in[2] + x;
                    const int32_t* from = f.x + position * f.channels + channel;
                    for (int64_t c = 0; c < own; ++c) {
                        sum += static_cast<int64_t>(from[c]) * weight[c * f.outputs];
                    }
                }
            }
        }
        sum = scaled(sum, f.shift) + f.bias[divide(n, f.bias_period).rest];
        f.result[n] = as_current<int32_t>(sum);
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
