// The step of integrate-and-fire neurons, written once: for vectors of them on a CPU, for one of them on a GPU.
//
// `Lanes` says what is computed with. It has the types `number`, `value` (one number, or a vector of them) and `mask`
// (what a comparison of values gives), and
//   all(number)                    that number in every lane
//   sum(a, b), difference(a, b)    whole numbers may wrap; `difference` where `b` is a threshold or 0
//   more(mask, a, b), less(mask, a, b)   the sum or difference where the mask is set, a elsewhere
//   unless(mask, a)                0 where the mask is set, a elsewhere
//   none(), both(m, n), either(m, n), without(m, n)   masks: no lane; in both, in one of the two, in m and not in n
//   times(a, number)               wraps where whole numbers do; `a` may be shifted right and cut off by &, if whole
#pragma once

#include "common/rule.h"

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
        v = hard ? Lanes::unless(fired, v) : Lanes::less(fired, v, threshold);
        v = saturate(v);
        return fired;
    }

    // With its gain at step t of a call.
    static FASTSNN_FUNCTION value grown(value v, const Rule& rule, int64_t t) {
        if constexpr (Saturation<number>::on) {
            // in two parts, so that no product leaves 32 bits
            const number gain = static_cast<number>(rule.fixed_gain[t]);
            const value held = clamp(v, Saturation<number>::limit / 2);
            const value low = Lanes::times(held & Lanes::all(static_cast<number>(32767)), gain) >> 15;
            return saturate(Lanes::sum(v, Lanes::sum(Lanes::times(held >> 15, gain), low)));
        } else {
            return v + v * Lanes::all(static_cast<number>(rule.gain[t]));
        }
    }

    // level / 4 thresholds. Of one number it has room for any; of vectors it wraps.
    static FASTSNN_FUNCTION auto level_of(value threshold, int32_t level) {
        if constexpr (Saturation<number>::on && sizeof(value) == sizeof(number)) {
            return static_cast<int64_t>(threshold) * level >> 2;
        } else if constexpr (Saturation<number>::on) {
            const number by = static_cast<number>(level);
            const value rest = Lanes::times(threshold & Lanes::all(3), by) >> 2;
            return Lanes::sum(Lanes::times(threshold >> 2, by), rest);
        } else {
            return threshold * Lanes::all(static_cast<number>(level) / 4);
        }
    }

    template <class Level>
    static FASTSNN_FUNCTION Level negative(Level at) {
        if constexpr (sizeof(value) == sizeof(number)) {
            return -at;
        } else {
            return Lanes::difference(Lanes::all(0), at);
        }
    }

    // Step t of a call, once the current is there: put(plane, mask) takes the spikes; `n` is what was emitted.
    template <class Put>
    static FASTSNN_FUNCTION void fire(value& v, value& n, value threshold, const Rule& rule, bool hard, bool strict,
                                      int64_t t, Put put) {
        mask any = Lanes::none();
        for (int p = 0; p < rule.planes; ++p) {
            const int32_t amplitude = rule.amplitude[p];
            const auto at = level_of(threshold, rule.level[p]);
            const auto least = negative(at);
            const number counts = static_cast<number>(amplitude * rule.unit);
            mask fired;
            if (amplitude > 0) {
                fired = strict ? static_cast<mask>(v > at) : static_cast<mask>(v >= at);
                if (rule.capped) {
                    // counts saturate below what 16 bits hold
                    const int32_t cap = sizeof(number) == 2 && rule.cap[t] > 32767 ? 32767 : rule.cap[t];
                    const value most = Lanes::all(static_cast<number>(cap));
                    fired = Lanes::both(fired, static_cast<mask>(Lanes::sum(n, Lanes::all(counts)) <= most));
                }
            } else {
                fired = rule.below ? static_cast<mask>(v < least) : static_cast<mask>(v <= least);
                fired = Lanes::both(fired, static_cast<mask>(n >= Lanes::all(static_cast<number>(-counts))));
            }
            if constexpr (sizeof(number) == 2 && sizeof(value) != sizeof(number)) {
                // a level that wraps in 16 bits is one that no potential reaches
                const int32_t level = rule.level[p] > 4 ? rule.level[p] : 4;
                fired = Lanes::without(
                    fired, static_cast<mask>(threshold > Lanes::all(static_cast<number>((4 * 32768 - 1) / level))));
            }
            if (rule.single) {
                fired = Lanes::without(fired, any);
            }
            any = Lanes::either(any, fired);
            if (!hard) {
                v = Lanes::less(fired, v, Lanes::times(threshold, static_cast<number>(amplitude)));
            }
            n = Lanes::more(fired, n, Lanes::all(counts));
            put(p, fired);
        }
        v = saturate(hard ? Lanes::unless(any, v) : v);
        n = saturate(n);
    }
};

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
