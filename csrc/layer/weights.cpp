#include "layer/weights.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace fastsnn {
namespace {

using i64 = std::int64_t;

template <class F>
void with_types(Number number, F run) {
    switch (number) {
        case Number::i16:
            return run(std::int16_t{}, std::int16_t{});
        case Number::i32:
            return run(std::int32_t{}, std::int32_t{});
        case Number::wide:
            return run(std::int64_t{}, std::int32_t{});
        case Number::f32:
            return run(float{}, float{});
        case Number::f64:
            return run(double{}, double{});
    }
}

template <class Source>
struct Weight {
    const Source* data;
    i64 per_group, taps[3];
    Source at(i64 o, i64 c, i64 kz, i64 ky, i64 kx) const {
        return data[(((o * per_group + c) * taps[0] + kz) * taps[1] + ky) * taps[2] + kx];
    }
};

template <class Source>
Weight<Source> weight_of(const TermSpec& term) {
    return {static_cast<const Source*>(term.weight),
            term.channels / term.groups,
            {term.kernel[0], term.kernel[1], term.kernel[2]}};
}

// How far from zero spikes drive an output: weights of one sign add up.
template <class Source>
double reach_of(const std::vector<TermSpec>& terms, i64 outputs) {
    double most = 0;
    for (i64 o = 0; o < outputs; ++o) {
        double up = 0, down = 0;
        for (const TermSpec& term : terms) {
            const i64 n = term.channels / term.groups * term.kernel[0] * term.kernel[1] * term.kernel[2];
            const Source* w = static_cast<const Source*>(term.weight) + o * n;
            for (i64 i = 0; i < n; ++i) {
                const auto weight = static_cast<double>(w[i]);
                (weight > 0 ? up : down) += std::abs(weight);
            }
        }
        most = std::max({most, up, down});
    }
    return most;
}

template <class Source>
double widest_of(const std::vector<TermSpec>& terms, i64 outputs) {
    double most = 0;
    for (const TermSpec& term : terms) {
        const i64 taps = term.kernel[0] * term.kernel[1] * term.kernel[2];
        const Source* w = static_cast<const Source*>(term.weight);
        for (i64 i = 0; i < outputs * term.channels / term.groups * taps; ++i) {
            most = std::max(most, std::abs(static_cast<double>(w[i])));
        }
    }
    return most;
}

// Whether `times` taps in a row along dimension `d` always have one weight: a pool in front of the convolution.
template <class Source>
bool pooled(const TermSpec& term, i64 outputs, int d, i64 times) {
    const Weight<Source> w = weight_of<Source>(term);
    for (i64 o = 0; o < outputs; ++o) {
        for (i64 c = 0; c < w.per_group; ++c) {
            for (i64 kz = 0; kz < term.kernel[0]; ++kz) {
                for (i64 ky = 0; ky < term.kernel[1]; ++ky) {
                    for (i64 kx = 0; kx < term.kernel[2]; ++kx) {
                        i64 k[3] = {kz, ky, kx};
                        k[d] -= k[d] % times;
                        if (w.at(o, c, kz, ky, kx) != w.at(o, c, k[0], k[1], k[2])) {
                            return false;
                        }
                    }
                }
            }
        }
    }
    return true;
}

// How many positions along `d` count as one: the most with which size, stride, padding and kernel are multiples.
template <class Source>
i64 pool(const TermSpec& term, i64 outputs, int d) {
    if (term.dilation[d] != 1) {
        return 1;
    }
    const i64 most = std::gcd(std::gcd(term.kernel[d], term.stride[d]), std::gcd(term.padding[d], term.in[d]));
    for (i64 times = most; times > 1; --times) {
        if (most % times == 0 && pooled<Source>(term, outputs, d, times)) {
            return times;
        }
    }
    return 1;
}

template <class E, class Source>
void pack_as(const Layer& layer, const std::vector<TermSpec>& events, const std::vector<TermSpec>& masks, E* weights,
             E* tap_weights) {
    const i64 lanes = layer.block_lanes, outputs = layer.channels;
    for (i64 part = 0; part < layer.parts; ++part) {
        for (i64 block = 0; block < layer.blocks; ++block) {
            const i64 number = part * layer.blocks + block;
            E* rows = weights + number * (layer.rows + 1) * lanes;
            E* taps = tap_weights + number * layer.taps * lanes;
            const i64 count = layer.positions > 1 ? outputs : std::min(lanes, layer.part_channels - block * lanes);
            for (i64 p = 0; p < layer.positions; ++p) {
                for (i64 l = 0; l < count; ++l) {
                    const i64 o = part * layer.part_channels + block * lanes + l, lane = p * count + l;
                    for (std::size_t i = 0; i < events.size(); ++i) {
                        const EventTerm& e = layer.event[i];
                        const Weight<Source> w = weight_of<Source>(events[i]);
                        const i64 group = o / (outputs / events[i].groups);
                        const i64 first = e.grouped ? group * w.per_group - part * e.part_channels : 0;
                        const i64 channels = e.grouped ? w.per_group : e.part_channels;
                        for (i64 kz = 0; kz < e.kernel[0]; ++kz) {
                            for (i64 ky = 0; ky < e.kernel[1]; ++ky) {
                                for (i64 kx = 0; kx < e.kernel[2]; ++kx) {
                                    const i64 kernel_row = kz * e.kernel[1] + ky;
                                    // dilated kernels have a run for each tap, others one run for all
                                    const i64 run = e.runs > 1 ? kernel_row * e.runs + kx : kernel_row;
                                    const i64 x = e.runs > 1 ? 0 : p * e.stride[2] + kx;
                                    E* row =
                                        rows + (e.first_row + run * e.run_rows + x * e.part_channels + first) * lanes;
                                    for (i64 c = 0; c < channels; ++c) {
                                        row[c * lanes + lane] = static_cast<E>(w.at(
                                            o, e.first_channel + c, kz * e.pool[0], ky * e.pool[1], kx * e.pool[2]));
                                    }
                                }
                            }
                        }
                    }
                    for (std::size_t i = 0; i < masks.size(); ++i) {
                        const MaskTerm& m = layer.mask[i];
                        const i64 n = m.kernel[0] * m.kernel[1] * m.kernel[2];
                        const Source* from = static_cast<const Source*>(masks[i].weight) + o * m.per_group * n;
                        for (i64 k = 0; k < n * m.per_group; ++k) {
                            const i64 tap = k % n * m.per_group + k / n;
                            taps[(m.first_tap + tap) * lanes + lane] = static_cast<E>(from[k]);
                        }
                    }
                }
            }
        }
    }
}

}  // namespace

double reach(const std::vector<TermSpec>& terms, i64 outputs, Number number) {
    double result = 0;
    with_types(number, [&](auto, auto source) { result = reach_of<decltype(source)>(terms, outputs); });
    return result;
}

double widest(const std::vector<TermSpec>& terms, i64 outputs, Number number) {
    double result = 0;
    with_types(number, [&](auto, auto source) { result = widest_of<decltype(source)>(terms, outputs); });
    return result;
}

i64 pool_of(const TermSpec& term, i64 outputs, int d, Number number) {
    i64 result = 1;
    with_types(number, [&](auto, auto source) { result = pool<decltype(source)>(term, outputs, d); });
    return result;
}

void pack(const Layer& layer, Number number, const std::vector<TermSpec>& events, const std::vector<TermSpec>& masks,
          void* weights, void* tap_weights) {
    with_types(number, [&](auto value, auto source) {
        using E = decltype(value);
        pack_as<E, decltype(source)>(layer, events, masks, static_cast<E*>(weights), static_cast<E*>(tap_weights));
    });
}

}  // namespace fastsnn
