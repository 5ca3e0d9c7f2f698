// What an input of a layer on a GPU is: its geometry, its words, its weights.
#pragma once

#include "common/device.cuh"

namespace fastsnn {
namespace device {

constexpr int MOST_INPUTS = 32;

// Sizes are depth, height, width.
struct Window {
    int32_t channels;  // of an event input: that one output reads; of a look: outputs that read one channel
    int32_t in[3], kernel[3], stride[3], padding[3], dilation[3];
    int32_t pool[3];  // of the kernel, neighbouring taps that have the same weights
};

namespace {

struct Place {
    int64_t image;
    int32_t z, y, x;
};

FASTSNN_FUNCTION Place place_of(int64_t position, const int32_t (&size)[3]) {
    const Division row = divide(position, size[2]), plane = divide(row.quotient, size[1]);
    const Division image = divide(plane.quotient, size[0]);
    return {image.quotient, static_cast<int32_t>(image.rest), static_cast<int32_t>(plane.rest),
            static_cast<int32_t>(row.rest)};
}

// What a tap of a kernel reads: the input position, or -1 outside, and the number of its weights among `taps` of them.
struct Reading {
    int64_t position;
    int number, taps;
};

FASTSNN_DEVICE Reading reading_of(const Window& w, const Place& at, int tap) {
    const int row = tap / w.kernel[2], kx = tap - row * w.kernel[2];
    const int kz = row / w.kernel[1], ky = row - kz * w.kernel[1];
    const int z = at.z * w.stride[0] - w.padding[0] + kz * w.dilation[0];
    const int y = at.y * w.stride[1] - w.padding[1] + ky * w.dilation[1];
    const int x = at.x * w.stride[2] - w.padding[2] + kx * w.dilation[2];
    const bool inside = z >= 0 && z < w.in[0] && y >= 0 && y < w.in[1] && x >= 0 && x < w.in[2];
    const int64_t position = ((at.image * w.in[0] + z) * w.in[1] + y) * w.in[2] + x;
    const int across = w.kernel[2] / w.pool[2], down = w.kernel[1] / w.pool[1];
    const int number = (kz / w.pool[0] * down + ky / w.pool[1]) * across + kx / w.pool[2];
    return {inside ? position : -1, number, w.kernel[0] / w.pool[0] * down * across};
}

// Calls `visit` for every tap with what it reads. One loop over all taps: three would keep so much at hand that sums no
// longer fit the registers.
template <class Visit>
FASTSNN_DEVICE void taps_of(const Window& w, const Place& at, Visit visit) {
    const int taps = w.kernel[0] * w.kernel[1] * w.kernel[2];
    for (int tap = 0; tap < taps; ++tap) {
        const Reading reading = reading_of(w, at, tap);
        visit(reading.position, reading.number);
    }
}

FASTSNN_FUNCTION uint32_t word_at(const void* words, int bytes, int64_t at) {
    if (bytes == 1) {
        return static_cast<const uint8_t*>(words)[at];
    }
    return bytes == 2 ? static_cast<const uint16_t*>(words)[at] : static_cast<const uint32_t*>(words)[at];
}

// Floating-point weights of 16 bits.
struct Half {
    uint16_t bits;
};
struct BFloat {
    uint16_t bits;
};

template <class Sum, class W>
FASTSNN_FUNCTION Sum widened(W weight) {
    return static_cast<Sum>(weight);
}
template <>
FASTSNN_FUNCTION float widened<float, Half>(Half weight) {
    return half_to_float(weight.bits);
}
template <>
FASTSNN_FUNCTION float widened<float, BFloat>(BFloat weight) {
    return __uint_as_float(static_cast<uint32_t>(weight.bits) << 16);
}

// Weights of looks are as wide as sums, but for sums that are only wide because there are many.
template <class Sum>
struct Tap {
    typedef Sum type;
};
template <>
struct Tap<int64_t> {
    typedef int32_t type;
};

}  // namespace
}  // namespace device
}  // namespace fastsnn
