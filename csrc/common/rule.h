// Neurons that emit on several planes, count what they emit, or whose potentials have a gain: fastsnn/firing.py says
// what the numbers mean. Gains and caps are those of the steps of one call.
#pragma once

#if !defined(__CUDACC_RTC__)
#include <stdint.h>
#endif

namespace fastsnn {

constexpr int MOST_PLANES = 16;

struct Rule {
    double gain[32];
    int32_t fixed_gain[32];  // in units of 2^-15
    int32_t cap[32];         // multiplied by `unit`
    int16_t amplitude[MOST_PLANES], level[MOST_PLANES];
    int32_t planes, unit;
    int32_t single, below, counted, capped, gained, differential;
};

}  // namespace fastsnn
