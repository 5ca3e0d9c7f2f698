// Kernels that go through neurons one by one, for Python.
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "bind/bind.h"
#include "bind/kernels.h"
#include "bind/tape.h"
#include "common/threads.h"

namespace py = pybind11;

namespace fastsnn {
namespace bind {
namespace {

void neurons(Number number, address current, i64 current_step, i64 N, i64 T, address v, i64 v_period, address threshold,
             i64 threshold_period, address bias, i64 bias_period, i64 bias_step, bool hard, bool strict, address out,
             int out_bytes, address v_out, const std::optional<Rule>& rule, address count, int threads) {
    NeuronCall call{};
    call.current = at<const void>(current);
    call.current_step = current_step;
    call.v = {at<const void>(v), v_period};
    call.threshold = {at<const void>(threshold), threshold_period};
    call.bias = {at<const void>(bias), bias_period};
    call.bias_step = bias_step;
    call.T = T;
    call.out = at<void>(out);
    call.out_bytes = out_bytes;
    call.v_out = at<void>(v_out);
    call.hard = hard;
    call.strict = strict;
    call.count = at<const void>(count);
    call.N = N;
    Tape::make([=]() mutable {
        call.rule = rule ? &*rule : nullptr;
        parallel_ranges(N, NEURON_GRAIN, threads,
                        [&](i64 begin, i64 end) { kernels().neurons(call, number, begin, end); });
    });
}

void adaptive(Number number, address current, i64 current_step, i64 N, i64 T, address v, i64 v_period, i64 first,
              address bias, i64 bias_period, i64 bias_step, const std::array<double, 6>& numbers, address words,
              int word_bytes, address after, int threads) {
    AdaptiveCall call{};
    call.current = at<const void>(current);
    call.current_step = current_step;
    if (first) {
        call.state = at<const void>(v);
    } else {
        call.v = {at<const void>(v), v_period};
    }
    call.bias = {at<const void>(bias), bias_period};
    call.bias_step = bias_step;
    call.T = T;
    call.first = first;
    call.N = N;
    call.words = at<void>(words);
    call.word_bytes = word_bytes;
    call.after = at<void>(after);
    call.numbers = {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]};
    Tape::make([=] {
        parallel_ranges(N, NEURON_GRAIN, threads,
                        [&](i64 begin, i64 end) { kernels().adaptive(call, number, begin, end); });
    });
}

void emit(Number number, bool random, address words, int word_bytes, i64 N, address v, address threshold,
          i64 threshold_period, i64 T, std::uint32_t key, address out, int threads) {
    const EmitCall call{at<const void>(words),
                        at<const void>(v),
                        {at<const void>(threshold), threshold_period},
                        at<void>(out),
                        word_bytes,
                        T,
                        random,
                        key};
    Tape::make([=] {
        parallel_ranges(N, NEURON_GRAIN, threads,
                        [&](i64 begin, i64 end) { kernels().emit(call, number, begin, end); });
    });
}

void restart(Number number, const std::vector<address>& words, int word_bytes, i64 N, const std::vector<address>& v,
             address threshold, i64 threshold_period, address start, i64 start_period, address out, int threads) {
    std::vector<const void*> each_words, each_v;
    for (std::size_t t = 0; t < words.size(); ++t) {
        each_words.push_back(at<const void>(words[t]));
        each_v.push_back(at<const void>(v[t]));
    }
    Tape::make([=] {
        const RestartCall call{each_words.data(),
                               word_bytes,
                               each_v.data(),
                               static_cast<i64>(each_words.size()),
                               {at<const void>(threshold), threshold_period},
                               {at<const void>(start), start_period},
                               at<void>(out)};
        parallel_ranges(N, NEURON_GRAIN, threads,
                        [&](i64 begin, i64 end) { kernels().restart(call, number, begin, end); });
    });
}

// x, weight, period and shift of each term.
using Scaled = std::tuple<address, address, i64, int>;

void totals(const std::vector<Scaled>& terms, const std::vector<address>& others, address narrow, address bias,
            i64 bias_period, bool bias_last, i64 N, address result, int threads) {
    std::vector<ScaledTerm> each;
    for (const auto& [x, weight, period, shift] : terms) {
        each.push_back({at<const std::int32_t>(x), at<const std::int32_t>(weight), period, shift});
    }
    std::vector<const i64*> added;
    for (const address other : others) {
        added.push_back(at<const i64>(other));
    }
    Tape::make([=] {
        const TotalsCall call{each.data(),
                              static_cast<i64>(each.size()),
                              added.data(),
                              static_cast<i64>(added.size()),
                              at<const std::int32_t>(narrow),
                              at<const std::int32_t>(bias),
                              bias_period,
                              bias_last,
                              at<std::int32_t>(result)};
        parallel_ranges(N, NEURON_GRAIN, threads, [&](i64 begin, i64 end) { kernels().totals(call, begin, end); });
    });
}

// What is summed over the steps so far: of x, of y, and what the last step found.
using Sums = std::array<address, 3>;

void changes(Function function, address x, address y, i64 T, i64 N, i64 M, i64 row, i64 spread, double one,
             address steps, const Sums& before, const Sums& after, address result, int threads) {
    const ChangesCall call{at<const std::int32_t>(x),
                           at<const std::int32_t>(y),
                           T,
                           N,
                           M,
                           row,
                           spread,
                           one,
                           at<const double>(steps),
                           at<const i64>(before[0]),
                           at<const i64>(before[1]),
                           at<const double>(before[2]),
                           at<i64>(after[0]),
                           at<i64>(after[1]),
                           at<double>(after[2]),
                           at<std::int32_t>(result)};
    Tape::make([=] {
        parallel_ranges(N, VALUE_GRAIN, threads,
                        [&](i64 begin, i64 end) { kernels().changes(call, function, begin, end); });
    });
}

void means(address x, i64 T, i64 N, double one, address steps, address before, address after, address result,
           int threads) {
    const MeansCall call{
        at<const std::int32_t>(x), T, N, one, at<const double>(steps), at<const i64>(before), at<i64>(after),
        at<double>(result)};
    Tape::make([=] {
        parallel_ranges(N, VALUE_GRAIN, threads, [&](i64 begin, i64 end) { kernels().means(call, begin, end); });
    });
}

void differences(address value, i64 T, i64 N, double one, address steps, address before, address after, address result,
                 int threads) {
    const DifferencesCall call{
        at<const double>(value), T, N, one, at<const double>(steps), at<const double>(before), at<double>(after),
        at<std::int32_t>(result)};
    Tape::make([=] {
        parallel_ranges(N, VALUE_GRAIN, threads, [&](i64 begin, i64 end) { kernels().differences(call, begin, end); });
    });
}

}  // namespace

void elementwise(py::module_& m) {
    m.def("neurons", &neurons);
    m.def("adaptive", &adaptive);
    m.def("emit", &emit);
    m.def("restart", &restart);
    m.def("totals", &totals);
    py::enum_<Function>(m, "Function")
        .value("product", Function::product)
        .value("hardswish", Function::hardswish)
        .value("hardsigmoid", Function::hardsigmoid)
        .value("sigmoid", Function::sigmoid)
        .value("silu", Function::silu)
        .value("tanh", Function::tanh)
        .value("elu", Function::elu)
        .value("mish", Function::mish)
        .value("softplus", Function::softplus)
        .value("gelu", Function::gelu)
        .value("gelu_tanh", Function::gelu_tanh);
    m.def("changes", &changes);
    m.def("means", &means);
    m.def("differences", &differences);

    m.def("pack", [](address spikes, address words, i64 T, i64 N, int word_bytes) {
        Tape::make([=] { kernels().pack(at<const std::uint8_t>(spikes), at<void>(words), word_bytes, T, N); });
    });
    m.def("unpack", [](address words, address spikes, i64 T, i64 N, int word_bytes) {
        Tape::make([=] { kernels().unpack(at<const void>(words), word_bytes, at<std::uint8_t>(spikes), T, N); });
    });
    m.def("counts", [](address words, address counts, i64 N, int word_bytes) {
        Tape::make([=] { kernels().counts(at<const void>(words), word_bytes, at<std::int32_t>(counts), N); });
    });
}

}  // namespace bind
}  // namespace fastsnn
