// Where neurons start that run again, from what a first run shows of them.
#pragma once

#include <cstdint>

#include "common/repeated.h"

namespace fastsnn {

struct RestartCall {
    const void* const* words;  // of each step [N], whose first bit is that of the step
    int word_bytes;
    const void* const* v;  // of each step [N]
    std::int64_t steps;
    Repeated threshold, start;
    void* out;  // [N]
};

}  // namespace fastsnn
