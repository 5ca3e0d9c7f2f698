// How a layer's weights are laid out for the kernels, and how its work is split over threads.
#include "layer/plan.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>

#include "common/executable.h"
#include "common/threads.h"
#include "layer/tiling.h"
#include "layer/ways.h"
#include "layer/weights.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastsnn {
namespace {

using i64 = std::int64_t;

// Beyond this the weights do not stay in the second-level cache, and threads take different ones instead of all.
constexpr i64 LARGE_WEIGHTS = 1 << 20;
constexpr std::size_t HUGE_PAGE = 2 << 20;
int bytes_of(Number number) {
    return number == Number::i16 ? 2 : number == Number::wide || number == Number::f64 ? 8 : 4;
}

void* allocate(std::size_t bytes) {
    const std::size_t unit = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    const std::size_t rounded = std::max((bytes + unit - 1) / unit * unit, unit);
    void* p = std::aligned_alloc(unit, rounded);
    if (!p) {
        throw std::bad_alloc();
    }
#if defined(__linux__)
    if (unit == HUGE_PAGE) {
        madvise(p, rounded, MADV_HUGEPAGE);
    }
#endif
    std::memset(p, 0, rounded);
    return p;
}

bool reads(const TermSpec& term) {
    return term.channels > 0;
}

// One input channel for each output (lists would add one number for each spike), or few and so chosen.
bool masked(const TermSpec& term, Way way) {
    return term.groups > 1 && (way == Way::words || term.groups == term.channels);
}

EventTerm event_term(const TermSpec& term, i64 outputs, Number number) {
    EventTerm e{};
    for (int d = 0; d < 3; ++d) {
        e.pool[d] = pool_of(term, outputs, d, number);
        e.in[d] = term.in[d];
        e.grid[d] = term.in[d] / e.pool[d];
        e.kernel[d] = term.kernel[d] / e.pool[d];
        e.stride[d] = term.stride[d] / e.pool[d];
        e.padding[d] = term.padding[d] / e.pool[d];
        e.dilation[d] = term.dilation[d];
    }
    e.channels = term.channels;
    e.grouped = term.groups > 1;
    e.planes = 1;
    return e;
}

MaskTerm mask_term(const TermSpec& term, i64 outputs) {
    MaskTerm m{};
    std::copy_n(term.in, 3, m.in);
    std::copy_n(term.kernel, 3, m.kernel);
    std::copy_n(term.stride, 3, m.stride);
    std::copy_n(term.padding, 3, m.padding);
    std::copy_n(term.dilation, 3, m.dilation);
    m.channels = term.channels;
    m.per_group = term.channels / term.groups;
    m.outputs_per_group = outputs / term.groups;
    return m;
}

}  // namespace

void Plan::Free::operator()(void* p) const {
    std::free(p);
}

Plan::Plan(const Kernels& kernels, Number number, const std::vector<TermSpec>& terms, const i64 out[3], i64 outputs,
           bool hard, bool strict, double bias_reach, double least_threshold, int vectors, Way way)
    : kernels_(&kernels), number_(number) {
    std::vector<TermSpec> events, masks;
    for (const TermSpec& term : terms) {
        if (reads(term) && outputs > 0) {
            (masked(term, way) ? masks : events).push_back(term);
            order_.push_back(&term - terms.data());
        }
    }
    std::stable_partition(order_.begin(), order_.end(), [&](std::size_t i) { return !masked(terms[i], way); });
    // inputs without channels are no terms, but a call names their words too
    if (events.size() > MAX_TERMS || masks.size() > MAX_TERMS || terms.size() > 2 * MAX_TERMS) {
        throw std::invalid_argument("a layer sums at most " + std::to_string(MAX_TERMS) + " inputs of a kind, got " +
                                    std::to_string(terms.size()));
    }
    if (number == Number::i32 && (reach(terms, outputs, number) + bias_reach >= 1073741824.0 || least_threshold < 0)) {
        number_ = Number::wide;
    }
    Layer& la = layer_;
    la.events = static_cast<int>(events.size());
    la.masks = static_cast<int>(masks.size());
    la.hard = hard;
    la.strict = strict;
    la.channels = outputs;
    std::copy_n(out, 3, la.out);

    const i64 lanes = kernels.vector_bytes / bytes_of(number_);
    i64 group = 1;
    for (const TermSpec& term : events) {
        group = term.groups > 1 ? std::lcm(group, outputs / term.groups) : group;
    }
    const bool grouped = std::any_of(events.begin(), events.end(), [](const TermSpec& t) { return t.groups > 1; });
    i64 rows = 0;
    for (int i = 0; i < la.events; ++i) {
        la.event[i] = event_term(events[i], outputs, number_);
        const EventTerm& e = la.event[i];
        rows += e.kernel[0] * e.kernel[1] * e.kernel[2] * e.channels / events[i].groups;
    }
    const bool whole = number_ == Number::i16 || number_ == Number::i32;
    const bool dilated = std::any_of(la.event, la.event + la.events,
                                     [](const EventTerm& e) { return e.kernel[2] > 1 && e.dilation[2] > 1; });
    const bool parted = whole && la.events > 0 && !grouped && !dilated;
    const auto shape = [&](i64 registers) {
        la.vectors = registers;
        la.block_lanes = registers * lanes;
        la.part_channels = outputs;
        if (grouped) {
            // as many groups at a time as one block has lanes for
            i64 times = 1;
            for (i64 n = 1; n <= outputs / group; ++n) {
                if (outputs / group % n == 0 && n * group <= la.block_lanes) {
                    times = n;
                }
            }
            la.part_channels = group * times;
        }
        la.parts = outputs / std::max<i64>(la.part_channels, 1);
        la.blocks = (la.part_channels + la.block_lanes - 1) / la.block_lanes;
        la.positions = 1;
        if (la.parts == 1 && !dilated && la.events > 0 && outputs > 0) {
            la.positions = std::max<i64>(1, std::min(la.block_lanes / outputs, out[2]));
        }
        for (int i = 0; i < la.events; ++i) {
            EventTerm& e = la.event[i];
            const i64 outputs_of_group = outputs / events[i].groups, inputs_of_group = e.channels / events[i].groups;
            e.part_channels = e.grouped ? la.part_channels / outputs_of_group * inputs_of_group : e.channels;
            e.runs = e.dilation[2] > 1 ? e.kernel[2] : 1;
            e.span = e.runs > 1 ? 1 : (la.positions - 1) * e.stride[2] + e.kernel[2];
        }
    };
    coded_always_ = way == Way::code;
    const bool by_choice = way == Way::chosen && vectors == 0 && kernels.tiles == Tiles::hardware;
    if (parted && kernels.tiles != Tiles::none && (way == Way::tiles || by_choice)) {
        shape(1);
        la.tiles = lay_tiles(la) && (!by_choice || tiles_pay(la, widest(events, outputs, number_))) ? kernels.tiles
                                                                                                    : Tiles::none;
    }
    if (la.tiles == Tiles::none && parted && (coded_always_ || (way == Way::chosen && vectors == 0 && code_pays(la))) &&
        kernels.codes && Executable::available()) {
        shape(1);
        la.coded = la.streamed = split(events, coded_channels);
    }
    if (la.tiles == Tiles::none && !la.coded) {
        shape(vectors ? vectors : default_vectors(lanes, outputs, out[2], rows, kernels.vector_bytes, grouped, whole));
        if (parted && (way == Way::streams || (way == Way::chosen && streams_pay(la)))) {
            const i64 row_bytes = la.vectors * kernels.vector_bytes;
            la.streamed = split(events, [&](const EventTerm& e) { return streamed_channels(e, row_bytes); });
        }
    }
    la.rows = 0;
    i64 widest = 0;
    for (int i = 0; i < la.events; ++i) {
        EventTerm& e = la.event[i];
        e.first_row = la.rows;
        e.run_rows = e.span * e.part_channels + (la.streamed ? 1 : 0);
        la.rows += e.kernel[0] * e.kernel[1] * e.runs * e.run_rows;
        widest = std::max(widest, e.grid[2] * e.part_channels);
    }
    la.taps = 0;
    for (int i = 0; i < la.masks; ++i) {
        MaskTerm& m = la.mask[i];
        m = mask_term(masks[i], outputs);
        m.first_tap = la.taps;
        la.taps += m.kernel[0] * m.kernel[1] * m.kernel[2] * m.per_group;
    }
    // only lists have numbers of rows, and of inputs in a row
    const bool lists = !la.streamed && la.tiles == Tiles::none;
    la.index_bytes = lists && std::max(la.rows + 1, widest) >= 65536 ? 4 : 2;
    const i64 size = bytes_of(number_), all = la.parts * la.blocks * la.block_lanes * size;
    la.weight_bytes = all * (la.rows + 1);
    weights_.reset(allocate(static_cast<std::size_t>(la.weight_bytes)));
    tap_weights_.reset(allocate(static_cast<std::size_t>(all * la.taps)));
    la.weights = weights_.get();
    la.tap_weights = tap_weights_.get();
    pack(la, number_, events, masks, weights_.get(), tap_weights_.get());
    if (la.tiles != Tiles::none) {
        const std::vector<std::vector<char>> blocks = tiles_of(la, number_);
        la.weight_bytes = 0;
        for (const std::vector<char>& block : blocks) {
            la.weight_bytes += static_cast<i64>(block.size());
        }
        weights_.reset(allocate(static_cast<std::size_t>(la.weight_bytes)));
        char* to = static_cast<char*>(weights_.get());
        for (const std::vector<char>& block : blocks) {
            const i64 units = static_cast<i64>(block.size()) / (la.unit_tiles * TILE_BYTES);
            tile_blocks_.push_back({to, units / (la.block_lanes / TILE_COLUMNS)});
            to = std::copy(block.begin(), block.end(), to);
        }
        la.weights = nullptr;
        la.tile_blocks = tile_blocks_.data();
    }
}

// Splits the events into terms of at most so many channels, whose pools are counted, if that is possible.
template <class F>
bool Plan::split(std::vector<TermSpec>& events, F most_channels) {
    Layer& la = layer_;
    std::vector<TermSpec> specs;
    std::vector<EventTerm> terms;
    std::vector<std::size_t> order;
    for (int i = 0; i < la.events; ++i) {
        const EventTerm& e = la.event[i];
        const i64 most = most_channels(e);
        if (most < 1) {
            return false;
        }
        const i64 parts = (e.channels + most - 1) / most, each = (e.channels + parts - 1) / parts;
        for (i64 first = 0; first < e.channels; first += each) {
            EventTerm part = e;
            part.first_channel = first;
            part.part_channels = std::min(each, e.channels - first);
            part.planes = digits_of(e);
            specs.push_back(events[i]);
            terms.push_back(part);
            order.push_back(order_[i]);
        }
    }
    if (terms.size() > MAX_TERMS) {
        return false;
    }
    order.insert(order.end(), order_.begin() + la.events, order_.end());
    order_ = order;
    events = specs;
    std::copy(terms.begin(), terms.end(), la.event);
    la.events = static_cast<int>(terms.size());
    return true;
}

void Plan::run(const Call& given, int threads) const {
    Call call = given;
    call.neurons_of_image = layer_.out[0] * layer_.out[1] * layer_.out[2] * layer_.channels;
    for (std::size_t i = 0; i < order_.size(); ++i) {
        call.words[i] = given.words[order_[i]];
        call.word_bytes[i] = given.word_bytes[order_[i]];
    }
    const i64 rows = call.batch * layer_.out[0] * layer_.out[1], blocks = layer_.parts * layer_.blocks;
    if (rows * layer_.channels == 0) {
        return;
    }
    i64 row_parts = 1, block_parts = 1;
    if (threads > 1) {
        const bool large = layer_.weight_bytes > LARGE_WEIGHTS && blocks >= threads;
        // a few parts a thread, so that one which starts late or has more spikes does not keep the others waiting; not
        // of few rows, because parts that meet make the lists of the rows between them twice
        constexpr i64 LEAST_ROWS = 8;
        row_parts = large ? 1 : std::min<i64>(rows, std::clamp<i64>(rows / LEAST_ROWS, threads, 4 * threads));
        block_parts = std::min<i64>(blocks, large ? threads : (threads + row_parts - 1) / row_parts);
    }
    call.coded = layer_.coded && (coded_always_ || code_pays(layer_, call.T));
    const Needs needs = kernels_->layer_needs(layer_, call, number_);
    parallel(row_parts * block_parts, threads, [&](i64 i) {
        static thread_local Arena arena;
        static thread_local Executable executable;
        const i64 r = i / block_parts, b = i % block_parts;
        const Task task{rows * r / row_parts,     rows * (r + 1) / row_parts,
                        blocks * b / block_parts, blocks * (b + 1) / block_parts,
                        arena.get(needs.memory),  needs.code ? executable.get(needs.code) : nullptr};
        kernels_->layer(layer_, call, task, number_);
    });
}

}  // namespace fastsnn
