// Vectors of doubles, and whatever else is converted to them and back.
#pragma once

#include "common/isa.h"

namespace fastsnn {
namespace FASTSNN_ISA {
namespace {

constexpr int REALS = Lanes<double>::N;
typedef Lanes<double>::s Reals;
// what comparing them gives
typedef Lanes<int64_t>::s Choices;

// As many numbers of another type.
template <class E>
struct Few {
    typedef E s __attribute__((vector_size(sizeof(E) * REALS)));
};

template <class To = Reals, class E>
inline To converted(const E* from) {
    typename Few<E>::s few;
    memcpy(&few, from, sizeof few);
    return __builtin_convertvector(few, To);
}

template <class E>
inline void put(E* to, Reals numbers) {
    const typename Few<E>::s few = __builtin_convertvector(numbers, typename Few<E>::s);
    memcpy(to, &few, sizeof few);
}

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
