// Numbers that repeat over neurons.
#pragma once

#include <cstdint>

namespace fastsnn {

// Neuron n has data[n % period]. A period of 1 is one number for all.
struct Repeated {
    const void* data;
    std::int64_t period;
};

// Unnamed, so that each instruction set has its own copy (see common/isa.h).
namespace {

// The numbers of neurons [n, n + count), `offset` behind the first, as E.
template <class E, class Source>
void repeat(const Repeated& from, std::int64_t offset, std::int64_t n, std::int64_t count, E* to) {
    const Source* data = static_cast<const Source*>(from.data) + offset;
    std::int64_t at = n % from.period;
    for (std::int64_t i = 0; i < count; ++i) {
        to[i] = static_cast<E>(data[at]);
        at = at + 1 == from.period ? 0 : at + 1;
    }
}

}  // namespace
}  // namespace fastsnn
