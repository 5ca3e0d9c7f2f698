#include "layer/ways.h"

#include <algorithm>

#include "layer/code.h"

namespace fastsnn {
namespace {

using i64 = std::int64_t;

// Of the first-level cache for one run of rows, beside what streams through it; offsets in it have 16 bits.
constexpr i64 CHUNK_BYTES = 24 * 1024, MOST_OFFSETS = 1 << 16;
// Inputs of a row, each time its digits, whose code is kept at most.
constexpr i64 MOST_CODED = 1 << 20;

// Of an image's outputs: fewer do not pay for what is made once for all.
constexpr i64 LEAST_POSITIONS = 4;

template <class F>
bool all_events(const Layer& layer, F holds) {
    return std::all_of(layer.event, layer.event + layer.events, holds);
}

bool tall_and_flat(const Layer& layer) {
    return !all_events(layer, [](const EventTerm& e) { return e.kernel[1] == 1; }) &&
           all_events(layer, [](const EventTerm& e) { return e.kernel[0] == 1; });
}

enum class Maker { amd, intel, other };

Maker maker() {
#if defined(__x86_64__)
    return __builtin_cpu_is("amd") ? Maker::amd : __builtin_cpu_is("intel") ? Maker::intel : Maker::other;
#else
    return Maker::other;
#endif
}

}  // namespace

i64 digits_of(const EventTerm& e) {
    i64 digits = 1;
    while ((e.pool[0] * e.pool[1] * e.pool[2]) >> digits) {
        ++digits;
    }
    return digits;
}

i64 streamed_channels(const EventTerm& e, i64 row_bytes) {
    const i64 most = CHUNK_BYTES / row_bytes / e.span;
    return digits_of(e) > MOST_DIGITS || e.grid[2] * std::min(most, e.channels) > MOST_OFFSETS ? 0 : most;
}

i64 coded_channels(const EventTerm& e) {
    const i64 most = std::min(MOST_ROWS, streamed_channels(e, 64));
    return e.grid[2] * std::min(most, e.channels) * digits_of(e) > MOST_CODED ? 0 : most;
}

// Streams are made once for all rows of a kernel, and weights come through the first level for all positions. Deep
// kernels would have to keep the streams of whole planes.
bool streams_pay(const Layer& layer) {
    constexpr i64 FEW_POSITIONS = 16;
    return tall_and_flat(layer) && layer.out[0] * layer.out[1] * layer.out[2] >= FEW_POSITIONS;
}

// An addition of two registers costs half of one that loads, where a processor does two a cycle and one load. To change
// code that has run costs Intel's processors several times as much as AMD's: there a spike has to reach many outputs.
bool code_pays(const Layer& layer) {
    constexpr i64 MANY_OUTPUTS = 1024;
    if (!tall_and_flat(layer) || layer.out[0] * layer.out[1] * layer.out[2] < LEAST_POSITIONS) {
        return false;
    }
    i64 outputs = 0;  // that a spike reaches
    for (int i = 0; i < layer.events; ++i) {
        const EventTerm& e = layer.event[i];
        const i64 reads = e.kernel[0] * e.kernel[1] * e.kernel[2], steps = e.stride[0] * e.stride[1] * e.stride[2];
        outputs = std::max(outputs, layer.channels * reads / steps);
    }
    const bool counted = !all_events(layer, [](const EventTerm& e) { return digits_of(e) == 1; });
    return maker() == Maker::amd || (maker() == Maker::intel && !counted && outputs >= MANY_OUTPUTS);
}

// A product takes the same time whatever spikes, and a tile that is not full as long as one that is; code of large
// layers takes less at usual rates, unless weights have one digit, and a single product less than its result to leave
// the register.
bool tiles_pay(const Layer& layer, double widest) {
    constexpr i64 FEW_TILES = 2, TENTHS = 7;
    constexpr double ONE_DIGIT = 127;
    i64 inputs = 0;
    for (int i = 0; i < layer.events; ++i) {
        const EventTerm& e = layer.event[i];
        inputs += e.kernel[0] * e.kernel[1] * e.span * e.channels;
    }
    return (widest <= ONE_DIGIT || !code_pays(layer)) &&
           layer.out[0] * layer.out[1] * layer.out[2] >= LEAST_POSITIONS && layer.unit_tiles >= FEW_TILES &&
           10 * inputs >= TENTHS * layer.unit_tiles * TILE_DEPTH;
}

// To write code takes as long as to run it a few times: it has to be run often, or neurons the steps to spike in many.
bool code_pays(const Layer& layer, i64 T) {
    constexpr i64 MANY_STEPS = 16, TWICE = 2, RUNS = 72;
    i64 runs = 0;  // of the code of one input
    for (int i = 0; i < layer.events; ++i) {
        const EventTerm& e = layer.event[i];
        const i64 reads = e.kernel[0] * e.kernel[1] * e.span, steps = e.stride[0] * e.stride[1] * e.stride[2];
        runs = std::max(runs, layer.blocks * reads / (steps * layer.positions));
    }
    return T >= MANY_STEPS ? runs >= TWICE : T * runs >= RUNS;
}

// Registers of a block: for rows of two lines of the cache, of one where a block has so many rows that they fill much
// of the second level, and no more than the outputs of a few neighbouring positions fill. Floating-point sums wait for
// one another and take two at least.
i64 default_vectors(i64 lanes, i64 outputs, i64 width, i64 rows, int vector_bytes, bool grouped, bool whole) {
    constexpr i64 LINE = 64, FEW_ROWS = 1152, FEW_FLOATING = 448, NEIGHBOURS = 4;
    const i64 lines = rows <= FEW_ROWS ? 2 : 1, floating = rows <= FEW_FLOATING ? 4 : 2;
    i64 vectors = whole ? std::min<i64>(lines * LINE / vector_bytes, 8) : floating;
    while (vectors > 1 && (grouped || (vectors / 2) * lanes >= outputs * std::min(width, NEIGHBOURS))) {
        vectors /= 2;
    }
    return vectors;
}

}  // namespace fastsnn
