// What every processor of the architecture has: SSE2 on x86-64, NEON on 64-bit ARM.
#define FASTSNN_ISA isa_baseline
#define FASTSNN_TABLE baseline

static bool supported() {
    return true;
}

#include "isa/kernels.inc"
