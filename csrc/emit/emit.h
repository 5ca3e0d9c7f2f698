// Spikes of neurons that know all of their input, from what a first run left.
#pragma once

#include <cstdint>

#include "common/repeated.h"

namespace fastsnn {

struct EmitCall {
    const void* words;  // [N] of the first run
    const void* v;      // [N] its last potentials
    Repeated threshold;
    void* out;  // words [N]
    int word_bytes;
    std::int64_t T;
    bool random;
    std::uint32_t key;  // of the seed, for the first step
};

}  // namespace fastsnn
