// The CPU loops of the pack family.
#include <algorithm>

#include "common/words.h"
#include "pack/pack.h"

namespace fastsnn {
namespace {

// Neurons whose words are kept in the first-level cache (16 KiB at most) while the rows of all T steps pass by.
constexpr std::int64_t BLOCK = 4096;

}  // namespace

template <typename Word>
void pack_cpu(const std::uint8_t* spikes, Word* words, std::int64_t T, std::int64_t N) {
    for (std::int64_t start = 0; start < N; start += BLOCK) {
        const std::int64_t size = std::min(BLOCK, N - start);
        Word* block = words + start;
        std::fill_n(block, size, Word{0});
        // time outermost: each step streams part of a row, and the inner loop vectorises
        for (std::int64_t t = 0; t < T; ++t) {
            const std::uint8_t* row = spikes + t * N + start;
            for (std::int64_t n = 0; n < size; ++n) {
                block[n] = static_cast<Word>(block[n] | spike_bit<Word>(row[n] != 0, t));
            }
        }
    }
}

template <typename Word>
void unpack_cpu(const Word* words, std::uint8_t* spikes, std::int64_t T, std::int64_t N) {
    for (std::int64_t start = 0; start < N; start += BLOCK) {
        const std::int64_t size = std::min(BLOCK, N - start);
        const Word* block = words + start;
        for (std::int64_t t = 0; t < T; ++t) {
            std::uint8_t* row = spikes + t * N + start;
            for (std::int64_t n = 0; n < size; ++n) {
                row[n] = spike_at(block[n], t);
            }
        }
    }
}

template <typename Word>
void counts_cpu(const Word* words, std::int32_t* counts, std::int64_t N) {
    for (std::int64_t n = 0; n < N; ++n) {
        counts[n] = spike_count(words[n]);
    }
}

template void pack_cpu(const std::uint8_t*, std::uint8_t*, std::int64_t, std::int64_t);
template void pack_cpu(const std::uint8_t*, std::uint16_t*, std::int64_t, std::int64_t);
template void pack_cpu(const std::uint8_t*, std::uint32_t*, std::int64_t, std::int64_t);
template void unpack_cpu(const std::uint8_t*, std::uint8_t*, std::int64_t, std::int64_t);
template void unpack_cpu(const std::uint16_t*, std::uint8_t*, std::int64_t, std::int64_t);
template void unpack_cpu(const std::uint32_t*, std::uint8_t*, std::int64_t, std::int64_t);
template void counts_cpu(const std::uint8_t*, std::int32_t*, std::int64_t);
template void counts_cpu(const std::uint16_t*, std::int32_t*, std::int64_t);
template void counts_cpu(const std::uint32_t*, std::int32_t*, std::int64_t);

}  // namespace fastsnn
