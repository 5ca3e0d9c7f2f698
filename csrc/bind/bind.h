// What the files that bind kernels to Python share: addresses, sizes, and what each of them adds to the module.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace fastsnn {
namespace bind {

using i64 = std::int64_t;

// Tensors cross as integers, so that no torch header is compiled and the module is not tied to a torch version.
using address = std::uintptr_t;
using Sizes = std::array<i64, 3>;
using Strides = std::array<i64, 6>;

// Neurons, values of functions, rows of outputs, and bytes to copy, below which another thread is not worth waking.
constexpr i64 NEURON_GRAIN = 4096, VALUE_GRAIN = 1024, ROW_GRAIN = 1, ROUTE_GRAIN = 1 << 16;

template <typename Value>
Value* at(address a) {
    return reinterpret_cast<Value*>(a);
}

inline void copy(const Sizes& from, i64* to) {
    std::copy_n(from.begin(), 3, to);
}

// For whatever has a kernel, stride, padding and dilation.
template <typename Windowed>
void set_window(Windowed& to, const Sizes& kernel, const Sizes& stride, const Sizes& padding, const Sizes& dilation) {
    copy(kernel, to.kernel);
    copy(stride, to.stride);
    copy(padding, to.padding);
    copy(dilation, to.dilation);
}

void elementwise(pybind11::module_& m);  // kernels that go through neurons one by one
void moves(pybind11::module_& m);        // copies
void windows(pybind11::module_& m);      // pools

}  // namespace bind
}  // namespace fastsnn
