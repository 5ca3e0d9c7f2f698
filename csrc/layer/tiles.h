// Products of matrices of 8-bit numbers, in registers of 16 rows of 64 bytes: how a layer's weights are laid out for
// them.
//
//   tile    what one product reads: 64 inputs at up to 16 steps; or 64 inputs' weights for 16 outputs
//   plane   a digit of 8 bits, signed, of weights that are wider
//   column  16 outputs of a block, every second one where it has two, whose sums are halves of one register then
//   unit    one plane of one column: what is summed at once
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastsnn {

// Whether a table's layers can be products: never, by plain loops that do the same, or in the processor's registers.
enum class Tiles { none, emulated, hardware };

constexpr std::int64_t TILE_ROWS = 16, TILE_COLUMNS = 16, TILE_DEPTH = 64;
constexpr std::int64_t TILE_BYTES = TILE_ROWS * TILE_DEPTH;

struct TileBlock {
    const char* weights;  // [unit: plane, column][tile][input / 4][output][input % 4]
    std::int64_t planes;
};

}  // namespace fastsnn
