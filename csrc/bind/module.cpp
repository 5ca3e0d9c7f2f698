// The Python module fastsnn._cpu: addresses in, kernel called. Nothing is checked here: fastsnn/ops/<family>/op.py is
// the one door, and it has checked dtype, shape, device and contiguity.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bind/bind.h"
#include "bind/kernels.h"
#include "bind/tape.h"
#include "common/executable.h"
#include "common/threads.h"
#include "layer/plan.h"

namespace py = pybind11;

namespace {

using namespace fastsnn::bind;
using fastsnn::kernels;

std::string compiler() {
#if defined(__clang__)
    return "clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__);
#elif defined(__GNUC__)
    return "gcc " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__);
#else
    return "unknown compiler";
#endif
}

bool openmp() {
#ifdef _OPENMP
    return true;
#else
    return false;
#endif
}

fastsnn::TermSpec term(const Sizes& in, i64 channels, i64 groups, const Sizes& kernel, const Sizes& stride,
                       const Sizes& padding, const Sizes& dilation, address weight) {
    fastsnn::TermSpec t{};
    copy(in, t.in);
    t.channels = channels;
    t.groups = groups;
    set_window(t, kernel, stride, padding, dilation);
    t.weight = at<const void>(weight);
    return t;
}

// amplitudes and levels by plane; gains and caps by step, or empty.
fastsnn::Rule rule(const std::vector<std::int32_t>& amplitudes, const std::vector<std::int32_t>& levels, bool single,
                   bool below, bool counted, bool differential, int unit, const std::vector<double>& gains,
                   const std::vector<std::int32_t>& fixed_gains, const std::vector<std::int32_t>& caps) {
    fastsnn::Rule rule{};
    std::copy(amplitudes.begin(), amplitudes.end(), rule.amplitude);
    std::copy(levels.begin(), levels.end(), rule.level);
    std::copy(gains.begin(), gains.end(), rule.gain);
    std::copy(fixed_gains.begin(), fixed_gains.end(), rule.fixed_gain);
    constexpr i64 most = std::numeric_limits<std::int32_t>::max();
    std::transform(caps.begin(), caps.end(), rule.cap,
                   [&](i64 cap) { return static_cast<std::int32_t>(std::min(cap * unit, most)); });
    rule.planes = static_cast<std::int32_t>(amplitudes.size());
    rule.unit = unit;
    rule.single = single;
    rule.below = below;
    rule.counted = counted;
    rule.capped = !caps.empty();
    rule.gained = !gains.empty();
    rule.differential = differential;
    return rule;
}

fastsnn::Call call_of(const std::vector<address>& words, const std::vector<int>& word_bytes, i64 batch, i64 T,
                      const fastsnn::Spread& bias) {
    fastsnn::Call call{};
    for (std::size_t i = 0; i < words.size(); ++i) {
        call.words[i] = at<const void>(words[i]);
        call.word_bytes[i] = word_bytes[i];
    }
    call.batch = batch;
    call.T = T;
    call.bias = bias;
    return call;
}

// What spikes and bias add up to at each step.
void currents(const fastsnn::Plan& plan, const std::vector<address>& words, const std::vector<int>& word_bytes,
              i64 batch, i64 T, const fastsnn::Spread& bias, address result, int threads) {
    if (plan.number() != fastsnn::Number::i32) {
        throw std::invalid_argument("currents need weights of 32 bits whose sums stay below 2^30");
    }
    fastsnn::Call call = call_of(words, word_bytes, batch, T, bias);
    call.currents = at<void>(result);
    Tape::make([=, &plan] { plan.run(call, threads); });
}

void run(const fastsnn::Plan& plan, const std::vector<address>& words, const std::vector<int>& word_bytes, i64 batch,
         i64 T, const fastsnn::Spread& v, const fastsnn::Spread& threshold, const fastsnn::Spread& bias, address out,
         int out_bytes, address v_out, const std::optional<fastsnn::Rule>& rule, const fastsnn::Spread& count,
         int threads) {
    fastsnn::Call call = call_of(words, word_bytes, batch, T, bias);
    call.v = v;
    call.threshold = threshold;
    call.out = at<void>(out);
    call.out_bytes = out_bytes;
    call.v_out = at<void>(v_out);
    call.count = count;
    Tape::make([=, &plan]() mutable {
        call.rule = rule ? &*rule : nullptr;
        plan.run(call, threads);
    });
}

void readout(address words, int word_bytes, address weight, address bias, bool wide, address counts, address counts_out,
             address logits, i64 batch, i64 inputs, i64 outputs, i64 T, i64 steps_before, bool over_time, int threads) {
    const fastsnn::ReadoutCall call{at<const void>(words),
                                    word_bytes,
                                    at<const void>(weight),
                                    at<const void>(bias),
                                    at<const std::int32_t>(counts),
                                    at<std::int32_t>(counts_out),
                                    at<void>(logits),
                                    batch,
                                    inputs,
                                    outputs,
                                    T,
                                    steps_before,
                                    over_time};
    Tape::make([=] {
        fastsnn::parallel_ranges(batch, 1, threads,
                                 [&](i64 begin, i64 end) { kernels().readout(call, wide, begin, end); });
    });
}

// What digits of positions that share weights may take in all, in bytes.
constexpr i64 DIGITS_TOGETHER = 256 * 1024;

void fixed(address x, address weight, i64 planes, i64 batch, const Sizes& in, i64 channels, const Sizes& out,
           i64 outputs, i64 groups, const Sizes& kernel, const Sizes& stride, const Sizes& padding,
           const Sizes& dilation, int shift, address bias, i64 bias_position, i64 bias_channel, address result,
           address sums, int threads) {
    using fastsnn::TILE_DEPTH, fastsnn::TILE_BYTES, fastsnn::TILE_ROWS;
    if (planes > 0 && kernels().tiles == fastsnn::Tiles::none) {
        throw std::invalid_argument("weights are digits, which this instruction set does not multiply");
    }
    fastsnn::FixedCall call{};
    call.x = at<const std::int32_t>(x);
    call.weight = at<const std::int32_t>(weight);
    call.depthwise = groups > 1 && groups == channels && groups == outputs;
    copy(in, call.in);
    call.channels = channels;
    copy(out, call.out);
    call.outputs = outputs;
    call.groups = groups;
    set_window(call, kernel, stride, padding, dilation);
    call.shift = shift;
    call.bias = at<const std::int32_t>(bias);
    call.bias_position = bias_position;
    call.bias_channel = bias_channel;
    call.result = at<std::int32_t>(result);
    call.sums = at<i64>(sums);
    const Sizes ones{1, 1, 1};
    call.pointwise = groups == 1 && kernel == ones && stride == ones && padding == Sizes{};
    if (call.pointwise) {
        copy({1, out[0] * out[1] * out[2], 1}, call.out);
    }
    call.digits = at<const char>(weight);
    call.planes = planes;
    call.positions = batch * out[0] * out[1] * out[2];
    call.deep = (kernel[0] * kernel[1] * kernel[2] * channels + TILE_DEPTH - 1) / TILE_DEPTH;
    const i64 group_bytes = fastsnn::NUMBER_DIGITS * call.deep * TILE_BYTES;
    call.together = std::max<i64>(1, DIGITS_TOGETHER / group_bytes);
    call.tiles = kernels().tiles;
    const i64 line = 4 * call.deep * TILE_DEPTH, scratch = planes > 0 ? line + call.together * group_bytes : 0;
    const i64 tasks = planes > 0 ? (call.positions + TILE_ROWS - 1) / TILE_ROWS : batch * call.out[0] * call.out[1];
    Tape::make([=] {
        fastsnn::parallel_ranges(tasks, ROW_GRAIN, threads, [&](i64 begin, i64 end) {
            static thread_local fastsnn::Arena arena;
            fastsnn::FixedCall own = call;
            own.scratch = static_cast<char*>(arena.get(static_cast<std::size_t>(scratch)));
            kernels().fixed(own, begin, end);
        });
    });
}

void image(address x, bool wide, double scale, i64 batch, i64 channels, i64 positions, address result, int threads) {
    const fastsnn::ImageCall call{at<const void>(x), scale, channels, positions, at<std::int32_t>(result)};
    Tape::make([=] {
        fastsnn::parallel_ranges(batch * positions, NEURON_GRAIN, threads,
                                 [&](i64 begin, i64 end) { kernels().image(call, wide, begin, end); });
    });
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
    m.doc() = "CPU kernels of fastsnn. Unchecked: call fastsnn's ops instead.";
    m.def("compiler", &compiler);
    m.def("openmp", &openmp);
    m.def("instruction_sets", &fastsnn::instruction_sets);
    m.def("codes", [] { return fastsnn::kernels().codes && fastsnn::Executable::available(); });
    m.def("tiles", [] {
        constexpr const char* names[] = {"none", "emulated", "hardware"};
        return names[static_cast<int>(kernels().tiles)];
    });
    m.def("select_instruction_set", &fastsnn::select_instruction_set);
    m.def("instruction_set", [] { return std::string(kernels().name); });

    py::enum_<fastsnn::Number>(m, "Number")
        .value("i16", fastsnn::Number::i16)
        .value("i32", fastsnn::Number::i32)
        .value("wide", fastsnn::Number::wide)
        .value("f32", fastsnn::Number::f32)
        .value("f64", fastsnn::Number::f64);

    py::enum_<fastsnn::Way>(m, "Way")
        .value("chosen", fastsnn::Way::chosen)
        .value("lists", fastsnn::Way::lists)
        .value("streams", fastsnn::Way::streams)
        .value("code", fastsnn::Way::code)
        .value("tiles", fastsnn::Way::tiles)
        .value("words", fastsnn::Way::words);

    py::class_<Tape>(m, "Tape")
        .def(py::init())
        .def("start", &Tape::start)
        .def_static("stop", &Tape::stop)
        .def_static("make", &Tape::make_python)
        .def_static("in_python", &Tape::in_python)
        .def("bind", &Tape::bind)
        .def("run", &Tape::run)
        .def("__len__", &Tape::size);

    py::class_<fastsnn::Spread>(m, "Spread").def(py::init([](address data, const Strides& s) {
        return fastsnn::Spread{at<const void>(data), s[0], s[1], s[2], s[3], s[4], s[5]};
    }));
    py::class_<fastsnn::Rule>(m, "Rule").def(py::init(&rule));
    py::class_<fastsnn::TermSpec>(m, "Term").def(py::init(&term));
    py::class_<fastsnn::Plan>(m, "Plan")
        .def(py::init([](fastsnn::Number number, const std::vector<fastsnn::TermSpec>& terms, const Sizes& out,
                         i64 outputs, bool hard, bool strict, double bias_reach, double least_threshold, int vectors,
                         fastsnn::Way way) {
            py::gil_scoped_release nogil;
            return new fastsnn::Plan(kernels(), number, terms, out.data(), outputs, hard, strict, bias_reach,
                                     least_threshold, vectors, way);
        }))
        .def("run", &run)
        .def("currents", &currents)
        .def_property_readonly("vectors", [](const fastsnn::Plan& p) { return p.layer().vectors; })
        .def_property_readonly("streamed", [](const fastsnn::Plan& p) { return p.layer().streamed; })
        .def_property_readonly("coded", [](const fastsnn::Plan& p) { return p.layer().coded; })
        .def_property_readonly("tiled", [](const fastsnn::Plan& p) { return p.layer().tiles != fastsnn::Tiles::none; })
        .def_property_readonly("positions", [](const fastsnn::Plan& p) { return p.layer().positions; })
        .def_property_readonly("weight_bytes", [](const fastsnn::Plan& p) { return p.layer().weight_bytes; })
        .def_property_readonly("number", [](const fastsnn::Plan& p) { return p.number(); })
        .def_property_readonly("instruction_set", [](const fastsnn::Plan& p) { return std::string(p.kernels().name); });

    elementwise(m);
    moves(m);
    windows(m);
    m.def("readout", &readout);
    m.def("fixed", &fixed);
    m.def("image", &image);
}
