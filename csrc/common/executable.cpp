#include "common/executable.h"

#include <new>

#if defined(__linux__) && defined(__x86_64__)
#include <sys/mman.h>
#endif

namespace fastsnn {
namespace {

constexpr std::size_t PAGE = 4096;

#if defined(__linux__) && defined(__x86_64__)
void* map(std::size_t bytes) {
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
}

void unmap(void* p, std::size_t bytes) {
    munmap(p, bytes);
}
#else
void* map(std::size_t) {
    return nullptr;
}

void unmap(void*, std::size_t) {}
#endif

}  // namespace

bool Executable::available() {
    static const bool given = [] {
        void* page = map(PAGE);
        if (page) {
            unmap(page, PAGE);
        }
        return page != nullptr;
    }();
    return given;
}

Executable::~Executable() {
    release();
}

void Executable::release() {
    if (data_) {
        unmap(data_, size_);
    }
    data_ = nullptr;
    size_ = 0;
}

char* Executable::get(std::size_t bytes) {
    if (bytes > size_) {
        release();
        const std::size_t rounded = (bytes + PAGE - 1) / PAGE * PAGE;
        data_ = map(rounded);
        if (!data_) {
            throw std::bad_alloc();
        }
        size_ = rounded;
    }
    return static_cast<char*>(data_);
}

}  // namespace fastsnn
