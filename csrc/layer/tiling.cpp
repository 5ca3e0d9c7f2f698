#include "layer/tiling.h"

#include <algorithm>

namespace fastsnn {
namespace {

using i64 = std::int64_t;

// Tiles of a row of inputs at most; what a byte counts to.
constexpr i64 MOST_TILES = 1 << 15, MOST_COUNTED = 255;

bool tiled(EventTerm& e, i64 positions) {
    const i64 each = (e.channels + TILE_DEPTH - 1) / TILE_DEPTH, pool = e.pool[0] * e.pool[1] * e.pool[2];
    const i64 together = (e.span * e.channels + TILE_DEPTH - 1) / TILE_DEPTH, step = positions * e.stride[2];
    // what strips share is opened once for all of them if that takes no more products
    e.gathered = pool == 1 && (together < e.span * each || step >= e.span);
    e.run_tiles = e.gathered ? together : e.span * each;
    return pool <= MOST_COUNTED && (e.grid[2] + e.span) * e.run_tiles <= MOST_TILES;
}

// Digits of 8 bits, signed, that a number of E has at most: it is their sum in the arithmetic of E, which wraps.
template <class E>
i64 planes_of(E weight) {
    i64 planes = 0;
    for (i64 rest = weight; rest != 0 && planes < static_cast<i64>(sizeof(E)); ++planes) {
        rest = (rest - static_cast<std::int8_t>(rest)) >> 8;
    }
    return planes;
}

template <class E>
std::vector<char> tiles_of_block(const Layer& layer, const E* rows) {
    const i64 lanes = layer.block_lanes, columns = lanes / TILE_COLUMNS, unit = layer.unit_tiles * TILE_BYTES;
    i64 planes = 1;
    for (i64 i = 0; i < layer.rows * lanes; ++i) {
        planes = std::max(planes, planes_of(rows[i]));
    }
    std::vector<char> result(static_cast<std::size_t>(planes * columns * unit));
    char* tile = result.data();
    for (int i = 0; i < layer.events; ++i) {
        const EventTerm& e = layer.event[i];
        // inputs that lie together, and their tiles
        const i64 width = e.gathered ? e.run_rows : e.part_channels, tiles = (width + TILE_DEPTH - 1) / TILE_DEPTH;
        for (i64 first = 0; first < e.kernel[0] * e.kernel[1] * e.run_rows;
             first += width, tile += tiles * TILE_BYTES) {
            for (i64 k = 0; k < width; ++k) {
                const E* row = rows + (e.first_row + first + k) * lanes;
                char* to = tile + k / 4 * TILE_DEPTH + k % 4;
                for (i64 lane = 0; lane < lanes; ++lane) {
                    i64 rest = row[lane];
                    for (i64 p = 0; p < planes; ++p) {
                        const auto digit = static_cast<std::int8_t>(rest);
                        to[(p * columns + lane % columns) * unit + lane / columns * 4] = static_cast<char>(digit);
                        rest = (rest - digit) >> 8;
                    }
                }
            }
        }
    }
    return result;
}

template <class E>
std::vector<std::vector<char>> tiles_of_all(const Layer& layer) {
    std::vector<std::vector<char>> blocks;
    for (i64 block = 0; block < layer.blocks; ++block) {
        blocks.push_back(
            tiles_of_block(layer, static_cast<const E*>(layer.weights) + block * (layer.rows + 1) * layer.block_lanes));
    }
    return blocks;
}

}  // namespace

bool lay_tiles(Layer& layer) {
    layer.unit_tiles = 0;
    for (int i = 0; i < layer.events; ++i) {
        EventTerm& e = layer.event[i];
        if (!tiled(e, layer.positions)) {
            return false;
        }
        layer.unit_tiles += e.kernel[0] * e.kernel[1] * e.run_tiles;
    }
    return true;
}

std::vector<std::vector<char>> tiles_of(const Layer& layer, Number number) {
    return number == Number::i16 ? tiles_of_all<std::int16_t>(layer) : tiles_of_all<std::int32_t>(layer);
}

}  // namespace fastsnn
