// Where a neuron has to start to fire one spike more or less: written once for one neuron (Real is double) on a GPU and
// for a vector of them on a CPU.
#pragma once

#include "common/step.h"

namespace fastsnn {

// steps of a first run at most
constexpr int MOST_SEEN = 32;

namespace FASTSNN_ISA {
namespace {

// beyond what any potential is
constexpr double NEVER = 1.7976931348623157e308;
// how far beyond the threshold a start is put, so that rounding decides nothing
constexpr double BEYOND = 1e-3;

template <class Real>
FASTSNN_FUNCTION Real larger_of(Real a, Real b) {
    return a > b ? a : b;
}

// What a run shows of a neuron: the least potential that fired, and the largest that did not.
template <class Real>
struct Seen {
    Real fired = Real{} + NEVER, missed = Real{} - NEVER;

    // One more step, which ended with v.
    template <class Choice>
    FASTSNN_FUNCTION void see(Choice spike, Real v, Real threshold) {
        const Real before = v + (spike ? threshold : Real{});
        const Real least = before < fired ? before : fired;
        fired = spike ? least : fired;
        missed = spike ? missed : larger_of(missed, before);
    }

    // What is added to the start of a neuron that ended with v.
    FASTSNN_FUNCTION Real offset(Real v, Real threshold) const {
        const Real less = larger_of(fired - (1 - BEYOND) * threshold, threshold);
        const Real more = larger_of((1 + BEYOND) * threshold - missed, threshold);
        const auto early = (v < Real{}) & (fired < Real{} + NEVER), late = (v >= threshold) & (missed > Real{} - NEVER);
        const Real off = early ? -less : Real{};
        return late ? more : off;
    }
};

// A start as a number of E: whole ones are rounded to the nearest, and stay within what a potential may be.
template <class E, class Real>
FASTSNN_FUNCTION Real started(Real start) {
    if constexpr (Saturation<E>::on) {
        // what is added leaves no bits behind the point, and is taken off again
        constexpr double ROUNDER = 6755399441055744.0;
        const Real limit = Real{} + static_cast<double>(Saturation<E>::limit);
        start = (start + ROUNDER) - ROUNDER;
        start = start < limit ? start : limit;
        return larger_of(start, -limit);
    } else {
        return start;
    }
}

}  // namespace
}  // namespace FASTSNN_ISA
}  // namespace fastsnn
