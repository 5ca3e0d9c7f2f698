// Which spikes a neuron emits that knows all of its input: written once for one neuron (Real is double) on a GPU and
// for a vector of them on a CPU.
#pragma once

#if !defined(__CUDACC_RTC__)
#include <stdint.h>
#endif

#ifndef FASTSNN_FUNCTION
#define FASTSNN_FUNCTION inline
#endif

namespace fastsnn {

// What sets the hash's inputs apart: neurons, and steps.
constexpr uint32_t HASH_SPREAD = 0x9E3779B1, HASH_STEP = 0x27D4EB2F;

namespace FASTSNN_ISA {
namespace {

// Murmur3's last steps.
template <class Bits>
FASTSNN_FUNCTION Bits hashed(Bits x) {
    x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
    x = (x ^ (x >> 13)) * 0xC2B2AE35u;
    return x ^ (x >> 16);
}

// A share of a threshold, rounded down; cut off beyond what the spikes of a word make up for.
template <class Real>
FASTSNN_FUNCTION Real rounded_down(Real share) {
    // what is added leaves no bits behind the point, and is taken off again
    constexpr double ROUNDER = 6755399441055744.0;
    const Real most = Real{} + 33.0;
    share = share > -most ? share : -most;
    share = share < most ? share : most;
    const Real nearest = (share + ROUNDER) - ROUNDER;
    return nearest > share ? nearest - 1.0 : nearest;
}

// The whole thresholds in a potential, from its share rounded down, where both are doubles: their quotient may have
// been rounded up to a whole number. The threshold in two halves of 26 bits, whose products with n are exact, and so is
// what they are compared with: where it matters, v is close to both.
template <class Real>
FASTSNN_FUNCTION Real corrected(Real n, Real v, Real threshold) {
    const Real split = threshold * 134217729.0, high = split - (split - threshold), low = threshold - high;
    return n * high - v > -(n * low) ? n - 1.0 : n;
}

// So many spikes, all at the first steps.
FASTSNN_FUNCTION uint32_t in_order(int32_t spikes) {
    return spikes < 32 ? (uint32_t(1) << spikes) - 1 : ~uint32_t(0);
}

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
