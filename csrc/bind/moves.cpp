// Movement of words and numbers, for Python.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "bind/bind.h"
#include "bind/tape.h"
#include "common/threads.h"

namespace py = pybind11;

namespace fastsnn {
namespace bind {
namespace {

// Copies runs of elements: `runs` [n, 4] of destination, length, source (-1: zeros), place in it; all in elements.
void route(const std::vector<address>& sources, const std::vector<i64>& sizes, int bytes, address runs, i64 n,
           address result, i64 size, i64 batch, int threads) {
    Tape::make([=] {
        const i64* table = at<const i64>(runs);
        const i64 grain = ROUTE_GRAIN * n / std::max<i64>(size * bytes, 1) + 1;
        parallel_ranges(batch * n, grain, threads, [&](i64 begin, i64 end) {
            for (i64 i = begin; i < end; ++i) {
                const i64 b = i / n, *run = table + 4 * (i % n), length = run[1] * bytes;
                char* to = at<char>(result) + (b * size + run[0]) * bytes;
                if (run[2] < 0) {
                    std::memset(to, 0, static_cast<std::size_t>(length));
                } else {
                    const auto source = static_cast<std::size_t>(run[2]);
                    const char* from = at<const char>(sources[source]) + (b * sizes[source] + run[3]) * bytes;
                    std::memcpy(to, from, static_cast<std::size_t>(length));
                }
            }
        });
    });
}

// Where an element comes from: a source above SOURCE_BIT, its place in it below; negative: zero.
constexpr int SOURCE_BIT = 28;
constexpr std::size_t SOURCES = 8;

template <class E>
void gathered(const std::array<const char*, SOURCES>& from, const std::int32_t* index, i64 count, char* to) {
    constexpr std::int32_t place = (1 << SOURCE_BIT) - 1;
    for (i64 i = 0; i < count; ++i) {
        E element{};
        if (index[i] >= 0) {
            const char* source = from[static_cast<std::size_t>(index[i] >> SOURCE_BIT)];
            std::memcpy(&element, source + static_cast<std::size_t>(index[i] & place) * sizeof element, sizeof element);
        }
        std::memcpy(to + static_cast<std::size_t>(i) * sizeof element, &element, sizeof element);
    }
}

// Copies elements one by one: `index` [size] of each element of the result.
void gather(const std::vector<address>& sources, const std::vector<i64>& sizes, int bytes, address index,
            address result, i64 size, i64 batch, int threads) {
    if (sources.size() > SOURCES) {
        throw std::invalid_argument("elements come from at most 8 sources");
    }
    Tape::make([=] {
        parallel_ranges(batch * size, ROUTE_GRAIN / bytes, threads, [&](i64 begin, i64 end) {
            for (i64 i = begin; i < end;) {
                const i64 b = i / size, first = i % size, count = std::min(size - first, end - i);
                std::array<const char*, SOURCES> from{};
                for (std::size_t k = 0; k < sources.size(); ++k) {
                    from[k] = at<const char>(sources[k]) + b * sizes[k] * bytes;
                }
                const auto run = bytes == 1   ? gathered<std::uint8_t>
                                 : bytes == 2 ? gathered<std::uint16_t>
                                 : bytes == 4 ? gathered<std::uint32_t>
                                              : gathered<std::uint64_t>;
                run(from, at<const std::int32_t>(index) + first, count, at<char>(result) + i * bytes);
                i += count;
            }
        });
    });
}

}  // namespace

void moves(py::module_& m) {
    m.def("route", &route);
    m.def("gather", &gather);
}

}  // namespace bind
}  // namespace fastsnn
