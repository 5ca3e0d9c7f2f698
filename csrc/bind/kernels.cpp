#include "bind/kernels.h"

#include <atomic>
#include <stdexcept>

namespace fastsnn {
namespace {

#if defined(__x86_64__)
const Kernels* const ALL[] = {&amx, &avx512vbmi2, &avx512, &avx2, &baseline};
#else
const Kernels* const ALL[] = {&baseline};
#endif

const Kernels* best() {
    for (const Kernels* k : ALL) {
        if (k->supported()) {
            return k;
        }
    }
    return &baseline;
}

std::atomic<const Kernels*> chosen{nullptr};

}  // namespace

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Kernels* k : ALL) {
        if (k->supported()) {
            names.emplace_back(k->name);
        }
    }
    return names;
}

void select_instruction_set(const std::string& name) {
    for (const Kernels* k : ALL) {
        if (k->supported() && name == k->name) {
            chosen = k;
            return;
        }
    }
    throw std::invalid_argument("this processor does not run instruction set " + name);
}

const Kernels& kernels() {
    const Kernels* k = chosen;
    if (!k) {
        k = best();
        chosen = k;
    }
    return *k;
}

}  // namespace fastsnn
