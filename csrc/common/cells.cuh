// The neurons that a thread has: their currents, their state and words, and their step, plain or with a rule.
#pragma once

#include "common/device.cuh"

namespace fastsnn {
namespace device {
namespace {

// A sum as the current of a neuron of E: 32-bit numbers saturate, those of 16 bits wrap.
template <class E, class Sum>
FASTSNN_FUNCTION E as_current(Sum sum) {
    if constexpr (Saturation<E>::on && sizeof(E) == 4) {
        const Sum most = static_cast<Sum>(Saturation<E>::limit - 1);
        return static_cast<E>(sum > most ? most : sum < -most ? -most : sum);
    } else {
        return static_cast<E>(sum);
    }
}

// What a current and a bias are added in: 64 bits, where the sum of two numbers may need more than it has.
template <class E>
struct Roomy {
    typedef E type;
};
template <>
struct Roomy<int16_t> {
    typedef int32_t type;
};
template <>
struct Roomy<int32_t> {
    typedef int64_t type;
};

template <class E>
FASTSNN_FUNCTION E driven(E current, E bias) {
    typedef typename Roomy<E>::type Sum;
    return as_current<E>(static_cast<Sum>(static_cast<Sum>(current) + static_cast<Sum>(bias)));
}

// What a neuron of E computes in: some planes of GRADED ones need more than 32 bits.
template <class E, bool GRADED>
struct Stepped {
    typedef E type;
};
template <>
struct Stepped<int32_t, true> {
    typedef int64_t type;
};

// N neurons of a thread, while they run: the words of each plane and, of a GRADED call, which has a `rule`, what they
// have emitted.
template <class E, int N, bool GRADED>
struct Cells {
    typedef typename Stepped<E, GRADED>::type Number;
    typedef Step<One<Number>> Rules;

    Number v[N], emitted[GRADED ? N : 1];
    uint32_t word[GRADED ? MOST_PLANES : 1][N];

    template <class Call>
    FASTSNN_DEVICE void step(const Call& call, int i, E current, E threshold, int64_t t) {
        if constexpr (GRADED) {
            if (call.rule.gained) {
                v[i] = Rules::grown(v[i], call.rule, t);
                if (call.rule.differential) {
                    emitted[i] = Rules::grown(emitted[i], call.rule, t);
                }
            }
            v[i] = One<Number>::sum(v[i], current);
            Rules::fire(v[i], emitted[i], threshold, call.rule, call.hard != 0, call.strict != 0, t,
                        [&](int plane, bool fired) { word[plane][i] |= static_cast<uint32_t>(fired) << t; });
        } else {
            v[i] = One<Number>::sum(v[i], current);
            const bool fired = Rules::fire(v[i], threshold, call.hard != 0, call.strict != 0);
            word[0][i] |= static_cast<uint32_t>(fired) << t;
        }
    }
};

}  // namespace
}  // namespace device
}  // namespace fastsnn
