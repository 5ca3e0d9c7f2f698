// Neurons without weights: integrate-and-fire over T steps, from a current for each step or one for all of them.
#pragma once

#include <cstdint>

#include "common/repeated.h"
#include "common/rule.h"

namespace fastsnn {

struct NeuronCall {
    const void* current;          // [T, N], or [N] with a current_step of 0
    std::int64_t current_step;    // N or 0
    Repeated v, threshold, bias;  // bias.data may be null
    std::int64_t bias_step;       // bias.period or 0: from one step's biases to the next
    std::int64_t T;
    void* out;  // words [N], of `rule` [planes, N]
    int out_bytes;
    void* v_out;  // [N], or null; of `rule`, where it counts, counts behind them
    bool hard, strict;
    const Rule* rule;   // of neurons that are more than integrate-and-fire, or null
    const void* count;  // [N] what they have emitted, or null where that is nothing
    std::int64_t N;
};

}  // namespace fastsnn
