// The inputs of a window on a GPU.
#pragma once

#include "common/device.cuh"

namespace fastsnn {
namespace device {

struct PoolCall {
    const void* words;      // [B, *in, C]
    const int32_t* counts;  // gate: [B, *in, C], spikes of each input before these steps
    void* result;           // [B, *out, C]
    int64_t T, images, channels;
    int32_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
};

namespace {

// Calls `visit` with the place of the first of the thread's channels in every input of the window, in order.
template <class Visit>
FASTSNN_DEVICE void window(const PoolCall& p, int64_t position, int64_t channel, Visit visit) {
    const Division row = divide(position, p.out[2]), plane = divide(row.quotient, p.out[1]);
    const Division image = divide(plane.quotient, p.out[0]);
    const int z0 = static_cast<int>(image.rest) * p.stride[0] - p.padding[0];
    const int y0 = static_cast<int>(plane.rest) * p.stride[1] - p.padding[1];
    const int x0 = static_cast<int>(row.rest) * p.stride[2] - p.padding[2];
    for (int kz = 0; kz < p.kernel[0]; ++kz) {
        const int z = z0 + kz * p.dilation[0];
        for (int ky = 0; ky < p.kernel[1]; ++ky) {
            const int y = y0 + ky * p.dilation[1];
            if (z < 0 || z >= p.in[0] || y < 0 || y >= p.in[1]) {
                continue;
            }
            const int64_t line = ((image.quotient * p.in[0] + z) * p.in[1] + y) * p.in[2];
            for (int kx = 0; kx < p.kernel[2]; ++kx) {
                const int x = x0 + kx * p.dilation[2];
                if (x >= 0 && x < p.in[2]) {
                    visit((line + x) * p.channels + channel);
                }
            }
        }
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
