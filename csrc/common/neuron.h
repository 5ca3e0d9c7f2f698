// Vectors of integrate-and-fire neurons: what the step is computed with on a CPU, and how words leave registers.
#pragma once

#include "common/isa.h"
#include "common/step.h"

namespace fastsnn {
namespace FASTSNN_ISA {
namespace {

// Vectors of E. Integer sums are formed as unsigned numbers, because a partial sum may wrap where the whole does not.
template <class E>
struct VectorLanes {
    using number = E;
    using Bits = typename BitsOf<E>::type;
    typedef typename Lanes<E>::s value;
    typedef Bits bits __attribute__((vector_size(FASTSNN_VECTOR_BYTES)));
    typedef typename BitsOf<E>::compared mask __attribute__((vector_size(FASTSNN_VECTOR_BYTES)));

    static inline value all(E number) {
        return value{} + number;
    }

    static inline value sum(value a, value b) {
        if constexpr (Saturation<E>::on) {
            return (value)((bits)a + (bits)b);
        } else {
            return a + b;
        }
    }

    static inline value difference(value a, value b) {
        if constexpr (Saturation<E>::on) {
            return (value)((bits)a - (bits)b);
        } else {
            return a - b;
        }
    }

    static inline value times(value a, number by) {
        if constexpr (Saturation<E>::on) {
            return (value)((bits)a * (bits)all(by));
        } else {
            return a * all(by);
        }
    }

    static inline mask none() {
        return mask{};
    }

    static inline mask both(mask m, mask n) {
        return m & n;
    }

    static inline mask either(mask m, mask n) {
        return m | n;
    }

    static inline mask without(mask m, mask n) {
        return m & ~n;
    }

    // With registers for masks these are one instruction, which a mask made into numbers hides from the compiler.
    static inline value more(mask m, value a, value b) {
        return MASKED ? (m ? sum(a, b) : a) : sum(a, only(m, b));
    }

    static inline value less(mask m, value a, value b) {
        return MASKED ? (m ? difference(a, b) : a) : difference(a, only(m, b));
    }

    // With `bit` added to the spikes where the mask is set.
    static inline mask marked(mask m, mask spikes, mask bit) {
        return MASKED ? (m ? spikes + bit : spikes) : spikes | (bit & m);
    }

    static inline value unless(mask m, value v) {
        return (value)((mask)v & ~m);
    }

  private:
    static constexpr bool MASKED = FASTSNN_VECTOR_BYTES == 64;

    static inline value only(mask m, value v) {
        return (value)((mask)v & m);
    }
};

template <class E>
struct Neurons : VectorLanes<E>, Step<VectorLanes<E>> {
    using value = typename VectorLanes<E>::value;
    using mask = typename VectorLanes<E>::mask;

    // A current in 64 bits that stands in for one of 32: sums of 32-bit weights that may leave 32 bits.
    static inline value bounded(value current) {
        if constexpr (sizeof(E) == 8 && Saturation<E>::on) {
            return Step<VectorLanes<E>>::clamp(current, Saturation<E>::limit - 1);
        } else {
            return current;
        }
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

// f(i) for each i < n, a register of N at a time as far as they fill one.
template <int N, class F>
inline void each_lane(int64_t n, F f) {
    int64_t i = 0;
    for (; i + N <= n; i += N) {
        for (int j = 0; j < N; ++j) {
            f(i + j);
        }
    }
    for (; i < n; ++i) {
        f(i);
    }
}

// Writes words, or (shift > 0) adds steps to words whose first `shift` steps are written.
template <class Bits, class Word, class Lane>
inline void store_words(Word* to, const Lane* spikes, int64_t n, int64_t shift) {
    constexpr int N = FASTSNN_VECTOR_BYTES / sizeof(Lane);
    if (shift == 0) {
        each_lane<N>(n, [=](int64_t i) { to[i] = static_cast<Word>(static_cast<Bits>(spikes[i])); });
    } else {
        each_lane<N>(n, [=](int64_t i) {
            to[i] = static_cast<Word>(to[i] |
                                      static_cast<Word>(static_cast<uint32_t>(static_cast<Bits>(spikes[i])) << shift));
        });
    }
}

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
