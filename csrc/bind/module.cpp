// The Python module fastsnn._cpu: addresses in, kernel called. Nothing is checked here: fastsnn/ops/<family>/op.py is
// the one door, and it has checked dtype, shape, device and contiguity.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "pack/pack.h"

namespace {

// Tensors cross as integers, so that no torch header is compiled and the module is not tied to a torch version.
using address = std::uintptr_t;

template <typename Value>
Value* at(address a) {
    return reinterpret_cast<Value*>(a);
}

// Calls `kernel` with a value of the word type that has `word_bytes` bytes.
template <typename Kernel>
void with_word(int word_bytes, Kernel kernel) {
    pybind11::gil_scoped_release nogil;
    if (word_bytes == 1) {
        kernel(std::uint8_t{});
    } else if (word_bytes == 2) {
        kernel(std::uint16_t{});
    } else {
        kernel(std::uint32_t{});
    }
}

std::string compiler() {
#if defined(__clang__)
    return "clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__);
#elif defined(__GNUC__)
    return "gcc " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__);
#elif defined(_MSC_VER)
    return "msvc " + std::to_string(_MSC_VER);
#else
    return "unknown compiler";
#endif
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
    m.doc() = "CPU kernels of fastsnn. Unchecked: call fastsnn's ops instead.";
    m.def("compiler", &compiler);

    m.def("pack", [](address spikes, address words, std::int64_t T, std::int64_t N, int word_bytes) {
        with_word(word_bytes, [=](auto word) {
            fastsnn::pack_cpu(at<const std::uint8_t>(spikes), at<decltype(word)>(words), T, N);
        });
    });
    m.def("unpack", [](address words, address spikes, std::int64_t T, std::int64_t N, int word_bytes) {
        with_word(word_bytes, [=](auto word) {
            fastsnn::unpack_cpu(at<const decltype(word)>(words), at<std::uint8_t>(spikes), T, N);
        });
    });
    m.def("counts", [](address words, address counts, std::int64_t N, int word_bytes) {
        with_word(word_bytes, [=](auto word) {
            fastsnn::counts_cpu(at<const decltype(word)>(words), at<std::int32_t>(counts), N);
        });
    });
}
