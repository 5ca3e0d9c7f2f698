// The kernels of one instruction set, as a table that csrc/isa/<name>.cpp fills.
#pragma once

#include <cstddef>
#include <cstdint>

#include "adaptive/adaptive.h"
#include "emit/emit.h"
#include "fixed/fixed.h"
#include "layer/layer.h"
#include "neuron/neuron.h"
#include "pool/pool.h"
#include "readout/readout.h"
#include "restart/restart.h"

namespace fastsnn {

// How numbers are computed with. `wide` are 32-bit numbers summed in 64: for weights whose sums may leave 32 bits.
enum class Number { i16, i32, wide, f32, f64 };

struct Kernels {
    const char* name;
    int vector_bytes;
    bool codes;   // whether spikes can become code
    Tiles tiles;  // what computes products
    bool (*supported)();

    Needs (*layer_needs)(const Layer&, const Call&, Number);
    void (*layer)(const Layer&, const Call&, const Task&, Number);
    void (*neurons)(const NeuronCall&, Number, std::int64_t begin, std::int64_t end);
    void (*fixed)(const FixedCall&, std::int64_t row_begin, std::int64_t row_end);
    void (*totals)(const TotalsCall&, std::int64_t begin, std::int64_t end);
    void (*changes)(const ChangesCall&, Function, std::int64_t begin, std::int64_t end);
    void (*means)(const MeansCall&, std::int64_t begin, std::int64_t end);
    void (*differences)(const DifferencesCall&, std::int64_t begin, std::int64_t end);
    void (*image)(const ImageCall&, bool wide, std::int64_t begin, std::int64_t end);  // positions of all images
    void (*pool)(const PoolCall&, PoolKind, std::int64_t row_begin, std::int64_t row_end);
    void (*lateral)(const LateralCall&, std::int64_t row_begin, std::int64_t row_end);
    void (*lateral_sums)(const LateralCall&, std::int32_t* sums, std::int64_t begin, std::int64_t end);
    void (*adaptive)(const AdaptiveCall&, Number, std::int64_t begin, std::int64_t end);
    void (*emit)(const EmitCall&, Number, std::int64_t begin, std::int64_t end);
    void (*restart)(const RestartCall&, Number, std::int64_t begin, std::int64_t end);
    void (*readout)(const ReadoutCall&, bool wide, std::int64_t image_begin, std::int64_t image_end);
    void (*pack)(const std::uint8_t* spikes, void* words, int word_bytes, std::int64_t T, std::int64_t N);
    void (*unpack)(const void* words, int word_bytes, std::uint8_t* spikes, std::int64_t T, std::int64_t N);
    void (*counts)(const void* words, int word_bytes, std::int32_t* counts, std::int64_t N);
};

extern const Kernels baseline;
#if defined(__x86_64__)
extern const Kernels avx2;
extern const Kernels avx512;
extern const Kernels avx512vbmi2;
extern const Kernels amx;
#endif

}  // namespace fastsnn
