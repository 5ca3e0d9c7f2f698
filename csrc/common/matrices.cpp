#include "common/matrices.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fastsnn {
namespace {

bool ask() {
#if defined(__x86_64__) && defined(__linux__)
    constexpr unsigned TILE = 1u << 24, INT8 = 1u << 25;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (TILE | INT8)) != (TILE | INT8)) {
        return false;
    }
    constexpr long ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
    return false;
#endif
}

}  // namespace

bool matrices_available() {
    static const bool available = ask();
    return available;
}

}  // namespace fastsnn
