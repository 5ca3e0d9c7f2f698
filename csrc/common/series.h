// Exponentials and logarithms, written once for one number on a GPU and for a vector of them on a CPU, in sums,
// products and quotients alone, so that all give the same (see fastsnn/ops/_series.py).
#pragma once

#if !defined(__CUDACC_RTC__)
#include <stdint.h>
#endif

#ifndef FASTSNN_FUNCTION
#define FASTSNN_FUNCTION inline
#endif

namespace fastsnn {
namespace FASTSNN_ISA {
namespace {

// What functions of a type are computed with.
//
// EXP, LOG  terms of their series;  ONE  what the exponent of 1 is stored as, above FRACTION bits
// ROUNDER   leaves no bits behind the point of what it is added to, and the whole number in the last bits
template <class E>
struct Format;
template <>
struct Format<float> {
    typedef uint32_t Bits;
    static constexpr int EXP = 8, LOG = 7, FRACTION = 23;
    static constexpr uint32_t ONE = 127;
    static constexpr float ROUNDER = 12582912.0f;
};
template <>
struct Format<double> {
    typedef uint64_t Bits;
    static constexpr int EXP = 14, LOG = 16, FRACTION = 52;
    static constexpr uint64_t ONE = 1023;
    static constexpr double ROUNDER = 6755399441055744.0;
};

// For numbers E, one (Real is E, Bits whole numbers of its size) or a vector of them.
template <class E, class Real, class Bits>
struct Series {
    typedef Format<E> Form;

    static FASTSNN_FUNCTION Real all(double x) {
        return Real{} + static_cast<E>(x);
    }
    static FASTSNN_FUNCTION Bits bits_of(Real x) {
        union {
            Real real;
            Bits bits;
        } both;
        both.real = x;
        return both.bits;
    }
    static FASTSNN_FUNCTION Real real_of(Bits x) {
        union {
            Bits bits;
            Real real;
        } both;
        both.bits = x;
        return both.real;
    }
    static FASTSNN_FUNCTION Real within(Real x, double least, double most) {
        x = x > all(least) ? x : all(least);
        return x < all(most) ? x : all(most);
    }

    static FASTSNN_FUNCTION Real exp(Real x) {
        // 1 / k!, the quotient of two numbers that are exact
        constexpr double FACTORIAL[] = {1,    1,     2,      6,       24,       120,       720,
                                        5040, 40320, 362880, 3628800, 39916800, 479001600, 6227020800};
        x = within(x, -80.0, 80.0);
        const Real placed = x * all(1.4426950408889634) + Form::ROUNDER, n = placed - Form::ROUNDER;
        const Real rest = (x - n * all(0.693359375)) - n * all(-2.121944400546906e-4);
        Real found = all(1 / FACTORIAL[Form::EXP - 1]);
        for (int k = Form::EXP - 2; k >= 0; --k) {
            found = found * rest + all(1 / FACTORIAL[k]);
        }
        return found * real_of((bits_of(placed) << Form::FRACTION) + (Form::ONE << Form::FRACTION));
    }

    // Of numbers 0..1.
    static FASTSNN_FUNCTION Real log1p(Real x) {
        const Real s = x / (x + all(2.0)), square = s * s;
        Real found = all(1.0 / (2 * Form::LOG - 1));
        for (int k = Form::LOG - 2; k >= 0; --k) {
            found = found * square + all(1.0 / (2 * k + 1));
        }
        return found * (s + s);
    }
};

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
