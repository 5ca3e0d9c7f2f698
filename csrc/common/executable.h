// Memory for code that a kernel writes and calls.
#pragma once

#include <cstddef>

namespace fastsnn {

// Kept by a thread from call to call, and filled with zeros when it is new.
class Executable {
  public:
    // Whether the system gives such memory: hardened ones refuse memory that is both written and executed.
    static bool available();

    ~Executable();
    char* get(std::size_t bytes);

  private:
    void release();
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace fastsnn
