// The last linear layer, applied to spike counts.
#pragma once

#include <cstdint>

namespace fastsnn {

struct ReadoutCall {
    const void* words;  // [B, K]
    int word_bytes;
    const void* weight;          // [O, K] float or double
    const void* bias;            // [O] or null
    const std::int32_t* counts;  // [B, K] spikes before these steps
    std::int32_t* counts_out;    // [B, K]
    void* logits;                // [B, O], or [T, B, O] over time
    std::int64_t batch, inputs, outputs, T, steps_before;
    bool over_time;
};

}  // namespace fastsnn
