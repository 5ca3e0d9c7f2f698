// Pools, for Python.
#include <pybind11/stl.h>

#include <vector>

#include "bind/bind.h"
#include "bind/kernels.h"
#include "bind/tape.h"
#include "common/threads.h"

namespace py = pybind11;

namespace fastsnn {
namespace bind {
namespace {

PoolCall pool_call(address words, int word_bytes, const Sizes& in, const Sizes& out, i64 channels, const Sizes& kernel,
                   const Sizes& stride, const Sizes& padding, const Sizes& dilation, i64 T, address so_far,
                   address result, int result_bytes) {
    PoolCall call{};
    call.words = at<const void>(words);
    call.word_bytes = word_bytes;
    copy(in, call.in);
    copy(out, call.out);
    call.channels = channels;
    set_window(call, kernel, stride, padding, dilation);
    call.T = T;
    call.so_far = at<const std::int32_t>(so_far);
    call.result = at<void>(result);
    call.result_bytes = result_bytes;
    return call;
}

void pool(PoolKind kind, address words, int word_bytes, i64 batch, const Sizes& in, const Sizes& out, i64 channels,
          const Sizes& kernel, const Sizes& stride, const Sizes& padding, const Sizes& dilation, i64 T, address so_far,
          address result, int result_bytes, int threads) {
    const PoolCall call = pool_call(words, word_bytes, in, out, channels, kernel, stride, padding, dilation, T, so_far,
                                    result, result_bytes);
    Tape::make([=] {
        parallel_ranges(batch * out[0] * out[1], ROW_GRAIN, threads,
                        [&](i64 begin, i64 end) { kernels().pool(call, kind, begin, end); });
    });
}

// The largest sums of windows, and the sums of all inputs after these steps.
void lateral(address words, int word_bytes, i64 batch, const Sizes& in, const Sizes& out, i64 channels,
             const Sizes& kernel, const Sizes& stride, const Sizes& padding, const Sizes& dilation, i64 T,
             const std::vector<std::int32_t>& amplitudes, address sums, address sums_out, address result,
             int result_bytes, int threads) {
    LateralCall call{};
    call.pool = pool_call(words, word_bytes, in, out, channels, kernel, stride, padding, dilation, T, sums, result,
                          result_bytes);
    call.planes = static_cast<i64>(amplitudes.size());
    call.word_plane = batch * in[0] * in[1] * in[2] * channels;
    call.result_plane = batch * out[0] * out[1] * out[2] * channels;
    Tape::make([=]() mutable {
        call.amplitude = amplitudes.data();
        parallel_ranges(batch * out[0] * out[1], ROW_GRAIN, threads,
                        [&](i64 begin, i64 end) { kernels().lateral(call, begin, end); });
        parallel_ranges(call.word_plane, NEURON_GRAIN, threads, [&](i64 begin, i64 end) {
            kernels().lateral_sums(call, at<std::int32_t>(sums_out), begin, end);
        });
    });
}

}  // namespace

void windows(py::module_& m) {
    py::enum_<PoolKind>(m, "PoolKind")
        .value("any", PoolKind::any)
        .value("gate", PoolKind::gate)
        .value("counts", PoolKind::counts);
    m.def("pool", &pool);
    m.def("lateral", &lateral);
}

}  // namespace bind
}  // namespace fastsnn
