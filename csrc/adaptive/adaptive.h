// Neurons whose threshold follows potential and current, over T steps.
#pragma once

#include <cstdint>

#include "adaptive/threshold.h"
#include "common/repeated.h"

namespace fastsnn {

struct AdaptiveCall {
    const void* current;        // [T, N], or [N] with a current_step of 0
    std::int64_t current_step;  // N or 0
    Repeated v, bias;           // v: where first is 0; bias.data may be null
    std::int64_t bias_step;     // bias.period or 0: from one step's biases to the next
    const void* state;          // [2, N] potentials and sums of them, or null where first is 0
    std::int64_t T, first, N;
    void* words;  // [9, N]
    int word_bytes;
    void* after;  // [2, N]
    AdaptiveNumbers numbers;
};

}  // namespace fastsnn
