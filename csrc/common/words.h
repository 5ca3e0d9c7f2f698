// What a spike word is: bit t of an unsigned word is the neuron's spike at step t of its chunk.
//
// uint8_t holds up to 8 steps, uint16_t up to 16, uint32_t up to 32. PyTorch keeps the wider two as int16 and int32,
// having no shifts for unsigned ones; here they are unsigned, so that bit 15 or 31 is a spike and not a sign.
#pragma once

#include <cstdint>

// Unnamed, so that each instruction set has its own copy (see common/isa.h).
namespace fastsnn {
namespace {

template <typename Word>
inline Word spike_bit(bool spike, std::int64_t t) {
    return static_cast<Word>(static_cast<std::uint32_t>(spike) << t);
}

template <typename Word>
inline std::uint8_t spike_at(Word word, std::int64_t t) {
    return static_cast<std::uint8_t>((static_cast<std::uint32_t>(word) >> t) & 1u);
}

// In shifts and adds rather than the compiler's builtin: that is a table look-up unless the build assumes a processor
// with popcnt, and neither of the two vectorises.
inline std::int32_t spike_count(std::uint32_t word) {
    word -= (word >> 1) & 0x55555555u;
    word = (word & 0x33333333u) + ((word >> 2) & 0x33333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0fu;
    return static_cast<std::int32_t>((word * 0x01010101u) >> 24);
}

}  // namespace
}  // namespace fastsnn
