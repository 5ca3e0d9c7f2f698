// The step of integrate-and-fire neurons, written once: for vectors of them on a CPU, for one of them on a GPU.
//
// `Lanes` says what is computed with. It has the types `number`, `value` (one number, or a vector of them) and `mask`
// (what a comparison of values gives), and
//   all(number)                    that number in every lane
//   sum(a, b), difference(a, b)    whole numbers may wrap; `difference` where `b` is a threshold or 0
//   only(mask, a), unless(mask, a) a where the mask is set, 0 elsewhere; the other way round
#pragma once

#ifndef FASTSNN_FUNCTION
#define FASTSNN_FUNCTION inline
#endif

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

template <class Lanes>
struct Step {
    using number = typename Lanes::number;
    using value = typename Lanes::value;
    using mask = typename Lanes::mask;

    static FASTSNN_FUNCTION value clamp(value v, number limit) {
        const value high = Lanes::all(limit), low = Lanes::all(static_cast<number>(-limit));
        v = v > high ? high : v;
        return v < low ? low : v;
    }

    static FASTSNN_FUNCTION value saturate(value v) {
        if constexpr (Saturation<number>::on) {
            return clamp(v, Saturation<number>::limit);
        } else {
            return v;
        }
    }

    // Fires where v >= threshold (strict: v > threshold), resets, saturates: the spikes.
    static FASTSNN_FUNCTION mask fire(value& v, value threshold, bool hard, bool strict) {
        const mask fired = strict ? static_cast<mask>(v > threshold) : static_cast<mask>(v >= threshold);
        v = hard ? Lanes::unless(fired, v) : Lanes::difference(v, Lanes::only(fired, threshold));
        v = saturate(v);
        return fired;
    }
};

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
