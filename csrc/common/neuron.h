// The step of integrate-and-fire neurons, one vector of them at a time: the same text in every kernel.
#pragma once

#include "common/isa.h"

namespace fastsnn {
namespace FASTSNN_ISA {
namespace {

// Where a potential saturates: +-2^30 in 32 bits (and in the 64 that stand in for them), +-2^14 in 16.
template <class E>
struct Saturation {
    static constexpr bool on = true;
    static constexpr E limit = static_cast<E>(1) << (sizeof(E) == 2 ? 14 : 30);
};
template <>
struct Saturation<float> {
    static constexpr bool on = false;
    static constexpr float limit = 0;
};
template <>
struct Saturation<double> {
    static constexpr bool on = false;
    static constexpr double limit = 0;
};

// Vectors of E. Integer sums are formed as unsigned numbers, because a partial sum may wrap where the whole does not.
template <class E>
struct Neurons {
    using Bits = typename BitsOf<E>::type;
    typedef typename Lanes<E>::s value;
    typedef Bits bits __attribute__((vector_size(FASTSNN_VECTOR_BYTES)));
    typedef typename BitsOf<E>::compared mask __attribute__((vector_size(FASTSNN_VECTOR_BYTES)));

    static inline value sum(value a, value b) {
        if constexpr (Saturation<E>::on) {
            return (value)((bits)a + (bits)b);
        } else {
            return a + b;
        }
    }

    static inline value clamp(value v, E limit) {
        const value high = value{} + limit, low = value{} - limit;
        v = v > high ? high : v;
        return v < low ? low : v;
    }

    static inline value saturate(value v) {
        if constexpr (Saturation<E>::on) {
            return clamp(v, Saturation<E>::limit);
        } else {
            return v;
        }
    }

    // A current in 64 bits that stands in for one of 32: sums of 32-bit weights that may leave 32 bits.
    static inline value bounded(value current) {
        if constexpr (sizeof(E) == 8 && Saturation<E>::on) {
            return clamp(current, Saturation<E>::limit - 1);
        } else {
            return current;
        }
    }

    // Fires where v >= threshold (strict: v > threshold), resets, saturates: the spikes.
    static inline mask fire(value& v, value threshold, bool hard, bool strict) {
        const mask fired = strict ? (mask)(v > threshold) : (mask)(v >= threshold);
        if (hard) {
            v = (value)((mask)v & ~fired);
        } else if constexpr (Saturation<E>::on) {
            v = (value)((bits)v - ((bits)threshold & (bits)fired));
        } else {
            v = v - (value)((mask)threshold & fired);
        }
        v = saturate(v);
        return fired;
    }
};

template <class E>
inline typename Neurons<E>::value load(const E* from) {
    typename Neurons<E>::value v;
    memcpy(&v, from, sizeof v);
    return v;
}

template <class V, class E>
inline void store(E* to, V v) {
    memcpy(to, &v, sizeof v);
}

// Writes words, or (shift > 0) adds steps to words whose first `shift` steps are written.
template <class Bits, class Word, class Lane>
inline void store_words(Word* to, const Lane* spikes, int64_t n, int64_t shift) {
    if (shift == 0) {
        for (int64_t i = 0; i < n; ++i) {
            to[i] = static_cast<Word>(static_cast<Bits>(spikes[i]));
        }
    } else {
        for (int64_t i = 0; i < n; ++i) {
            to[i] = static_cast<Word>(to[i] |
                                      static_cast<Word>(static_cast<uint32_t>(static_cast<Bits>(spikes[i])) << shift));
        }
    }
}

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
