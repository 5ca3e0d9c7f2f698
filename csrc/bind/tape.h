// Calls of kernels, kept to be made again: a run whose numbers always lie at the same addresses is recorded once.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>
#include <utility>
#include <vector>

namespace fastsnn {
namespace bind {

class Tape {
  public:
    void start() {
        recording() = this;
    }

    static void stop() {
        recording() = nullptr;
    }

    void run() const {
        for (const auto& call : calls_) {
            call();
        }
    }

    std::size_t size() const {
        return calls_.size();
    }

    // Makes a call of a kernel, without the interpreter's lock; keeps a copy where this thread records.
    template <class F>
    static void make(F call) {
        if (Tape* tape = recording()) {
            tape->calls_.push_back(call);
        }
        const pybind11::gil_scoped_release nogil;
        call();
    }

  private:
    // of this thread
    static Tape*& recording() {
        static thread_local Tape* tape = nullptr;
        return tape;
    }

    std::vector<std::function<void()>> calls_;
};

}  // namespace bind
}  // namespace fastsnn
