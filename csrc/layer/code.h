// Spikes as code: what a layer's geometry must obey so that additions can be written as instructions of the processor.
#pragma once

#include <cstdint>

namespace fastsnn {

// A row of weights is one register, and an instruction names it by one byte: how many rows it lies behind another.
constexpr std::int64_t MOST_ROWS = 128;
// Steps whose sums are in registers at once.
constexpr std::int64_t MOST_STEPS = 16;

}  // namespace fastsnn
