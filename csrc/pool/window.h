// The inputs of a window on a CPU, whose channels are the lanes.
#pragma once

#include "common/isa.h"
#include "pool/pool.h"

namespace fastsnn {
namespace FASTSNN_ISA {
namespace {

constexpr int64_t POOL_LANES = 64;

// Calls `visit` with the position of every input of the window at (z, y, x), in order.
template <class Visit>
inline void window(const PoolCall& p, int64_t z, int64_t y, int64_t x, Visit visit) {
    for (int64_t kz = 0; kz < p.kernel[0]; ++kz) {
        const int64_t iz = z * p.stride[0] - p.padding[0] + kz * p.dilation[0];
        for (int64_t ky = 0; ky < p.kernel[1]; ++ky) {
            const int64_t iy = y * p.stride[1] - p.padding[1] + ky * p.dilation[1];
            for (int64_t kx = 0; kx < p.kernel[2]; ++kx) {
                const int64_t ix = x * p.stride[2] - p.padding[2] + kx * p.dilation[2];
                if (iz >= 0 && iz < p.in[0] && iy >= 0 && iy < p.in[1] && ix >= 0 && ix < p.in[2]) {
                    visit((iz * p.in[1] + iy) * p.in[2] + ix);
                }
            }
        }
    }
}

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
