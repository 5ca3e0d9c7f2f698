// Work split over threads: OpenMP's pool, which is also torch's where both use the same library.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace fastsnn {

// Calls task(i) for i in [0, n), on up to `threads` threads; in turn where the compiler had no OpenMP.
template <class F>
void parallel(std::int64_t n, int threads, F task) {
#ifdef _OPENMP
    if (n > 1 && threads > 1) {
#pragma omp parallel for num_threads(static_cast<int>(std::min<std::int64_t>(n, threads))) schedule(dynamic, 1)
        for (std::int64_t i = 0; i < n; ++i) {
            task(i);
        }
        return;
    }
#endif
    (void)threads;
    for (std::int64_t i = 0; i < n; ++i) {
        task(i);
    }
}

// Calls range(begin, end) for parts of [0, n) of at least `grain`, of which a thread gets a few.
template <class F>
void parallel_ranges(std::int64_t n, std::int64_t grain, int threads, F range) {
    const std::int64_t most = threads > 1 ? threads * 4 : 1;
    const std::int64_t parts =
        std::max<std::int64_t>(1, std::min<std::int64_t>(most, n / std::max<std::int64_t>(grain, 1)));
    parallel(parts, threads, [&](std::int64_t i) { range(n * i / parts, n * (i + 1) / parts); });
}

// Memory on a cache line, kept by a thread from call to call.
class Arena {
  public:
    ~Arena() {
        std::free(data_);
    }
    void* get(std::size_t bytes) {
        if (bytes > size_) {
            std::free(data_);
            data_ = nullptr;
            size_ = 0;
            const std::size_t rounded = (bytes + 4095) / 4096 * 4096;
            data_ = std::aligned_alloc(64, rounded);
            if (!data_) {
                throw std::bad_alloc();
            }
            size_ = rounded;
        }
        return data_;
    }

  private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace fastsnn
