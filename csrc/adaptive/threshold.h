// Thresholds that follow potential and current: written once for one neuron on a GPU and for a vector of them on a CPU,
// in sums, products and quotients alone, so that all give the same (see fastsnn/ops/adaptive/reference.py).
#pragma once

#include "common/series.h"

namespace fastsnn {

// A neuron's numbers as factors of what is in units of theta / 256.
struct AdaptiveNumbers {
    double a, ka, ki, c, tau_mp, tau_rd;
};

// Words of a neuron, and what theta is in its units: 2^(planes - 1).
constexpr int ADAPTIVE_PLANES = 9;

namespace FASTSNN_ISA {
namespace {

// For numbers E, one (Real is E, Bits whole numbers of its size) or a vector of them.
template <class E, class Real, class Bits>
struct Threshold : Series<E, Real, Bits> {
    typedef Series<E, Real, Bits> Own;
    typedef Format<E> Form;

    // Of a step after the first; above: the potential less its mean.
    static FASTSNN_FUNCTION Real at(Real above, Real current, const AdaptiveNumbers& numbers) {
        const Real none = Real{}, held = above * Own::all(numbers.ki);
        const Real soft = (held > none ? held : none) + Own::log1p(Own::exp(held > none ? -held : held));
        const Real follows =
            ((above * Own::all(numbers.a) - Own::all(1.0)) + soft * Own::all(numbers.ka)) * Own::all(numbers.tau_mp);
        const Real evoked = Own::exp(current * Own::all(numbers.c)) * Own::all(numbers.tau_rd);
        const Real share = Own::all(1 << (ADAPTIVE_PLANES - 1)) / (Own::exp(-(follows + evoked)) + Own::all(1.0));
        return Own::within((share + Form::ROUNDER) - Form::ROUNDER, 1.0, (1 << (ADAPTIVE_PLANES - 1)) - 1);
    }

    // A whole number 0..256 as such.
    static FASTSNN_FUNCTION Bits whole(Real x) {
        return Own::bits_of(x + Form::ROUNDER) & (Bits{} + ((1u << ADAPTIVE_PLANES) - 1));
    }
};

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
