// Dense spikes to words, words to dense spikes, words to counts. Word is uint8_t, uint16_t or uint32_t.
#pragma once

#include <cstdint>

namespace fastsnn {

template <typename Word>
void pack_cpu(const std::uint8_t* spikes,  // [T, N], anything but 0 is a spike
              Word* words,                 // [N], written
              std::int64_t T,              // 1 to the bits of Word
              std::int64_t N);

template <typename Word>
void unpack_cpu(const Word* words,     // [N]
                std::uint8_t* spikes,  // [T, N], written: 0 and 1
                std::int64_t T,        // 1 to the bits of Word
                std::int64_t N);

template <typename Word>
void counts_cpu(const Word* words,     // [N]
                std::int32_t* counts,  // [N], written: spikes of each neuron over all steps
                std::int64_t N);

}  // namespace fastsnn
