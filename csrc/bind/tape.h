// Calls of kernels, kept to be made again: a run whose numbers always lie at the same addresses is recorded once.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

namespace fastsnn {
namespace bind {

// An address that is the same in every run, and how many bytes are there.
using Place = std::pair<std::uintptr_t, std::size_t>;

class Tape {
  public:
    void start() {
        recording() = this;
    }

    static void stop() {
        recording() = nullptr;
    }

    // What is copied there before a run, and from there after it.
    void bind(std::vector<Place> inputs, std::vector<Place> outputs) {
        inputs_ = std::move(inputs);
        outputs_ = std::move(outputs);
    }

    // inputs, outputs: as many addresses as were bound
    void run(const std::vector<std::uintptr_t>& inputs, const std::vector<std::uintptr_t>& outputs) const {
        const pybind11::gil_scoped_release nogil;
        for (std::size_t i = 0; i < inputs_.size(); ++i) {
            copy(inputs_[i].first, inputs[i], inputs_[i].second);
        }
        for (const auto& call : calls_) {
            call();
        }
        for (std::size_t i = 0; i < outputs_.size(); ++i) {
            copy(outputs[i], outputs_[i].first, outputs_[i].second);
        }
    }

    std::size_t size() const {
        return calls_.size();
    }

    // Makes a call of a kernel, without the interpreter's lock; keeps a copy where this thread records, unless a
    // recorded call makes it.
    template <class F>
    static void make(F call) {
        if (Tape* tape = recording(); tape && !in_python()) {
            tape->calls_.push_back(call);
        }
        const pybind11::gil_scoped_release nogil;
        call();
    }

    // Makes a call of Python's, in its turn in every run; what it does with tensors is its own.
    static void make_python(pybind11::function call) {
        make([call = std::move(call)] {
            const pybind11::gil_scoped_acquire gil;
            const Inside inside;
            call();
        });
    }

    // Whether this thread is in such a call.
    static bool in_python() {
        return depth() > 0;
    }

  private:
    struct Inside {
        Inside() {
            ++depth();
        }
        ~Inside() {
            --depth();
        }
        Inside(const Inside&) = delete;
        Inside& operator=(const Inside&) = delete;
    };

    static int& depth() {
        static thread_local int calls = 0;
        return calls;
    }

    static void copy(std::uintptr_t to, std::uintptr_t from, std::size_t bytes) {
        std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    }

    // of this thread
    static Tape*& recording() {
        static thread_local Tape* tape = nullptr;
        return tape;
    }

    std::vector<std::function<void()>> calls_;
    std::vector<Place> inputs_, outputs_;
};

}  // namespace bind
}  // namespace fastsnn
