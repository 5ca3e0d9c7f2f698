// An event-driven layer: convolutions of packed spikes, summed, and the neurons that they feed, over all T steps.
//
// A linear layer is the convolution of a single position. Plain data, shared by the code that packs weights (plan.cpp)
// and the kernels (layer_cpu.inc, one copy for each instruction set).
//
//   strip   `positions` neighbouring outputs of a row, all channels; or one output and a block of channels
//   block   the lanes that are summed in registers at once: one strip's outputs, `block_lanes` numbers
//   row     what one input neuron adds to one block when it spikes: `block_lanes` weights
//   part    channels of the output that read the same channels of the input: one for each group, or few groups
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/rule.h"
#include "layer/tiles.h"

namespace fastsnn {

constexpr int MAX_TERMS = 32;
constexpr int MOST_DIGITS = 16;  // of a count

// A convolution whose inputs are looked up as lists of spikes. Sizes are depth, height, width.
struct EventTerm {
    std::int64_t in[3], channels;   // of the words
    std::int64_t pool[3], grid[3];  // inputs whose weights are the same count as one position of the grid
    std::int64_t kernel[3], stride[3], padding[3], dilation[3];  // on the grid
    std::int64_t part_channels;                                  // channels that one part reads
    bool grouped;                // whether each part reads its own, or all parts the same
    std::int64_t first_channel;  // of those of its input, where they are split into several terms
    std::int64_t span;           // grid positions of a row that one run of rows covers
    std::int64_t runs;           // runs in a row of the kernel: 1, or `kernel` where it is dilated
    std::int64_t first_row;      // of this term in a block
    std::int64_t run_rows;       // from one run to the next
    std::int64_t planes;         // digits of how many inputs of a pool spike, where they are counted; else 1
    // of products: tiles of a run, and whether a strip's inputs of a row are brought together for it, or those of each
    // position lie once for all strips
    std::int64_t run_tiles;
    bool gathered;
};

// A convolution whose outputs read few channels (depthwise, residual connections, small groups): every word is looked
// at.
struct MaskTerm {
    std::int64_t in[3], channels;
    std::int64_t per_group, outputs_per_group;  // channels that an output reads, outputs that read the same
    std::int64_t kernel[3], stride[3], padding[3], dilation[3];
    std::int64_t first_tap;  // of kernel * per_group
};

struct Layer {
    int events, masks;
    EventTerm event[MAX_TERMS];
    MaskTerm mask[MAX_TERMS];
    std::int64_t out[3], channels;
    std::int64_t vectors, block_lanes, positions;  // of a block
    std::int64_t parts, part_channels, blocks;     // blocks of a part
    std::int64_t rows;                             // of a block, without the row of zeros behind them
    bool streamed;  // whether each run of rows is summed by itself, and has a row of zeros of its own
    bool coded;     // whether spikes can become code as well: one register a block
    Tiles tiles;    // what computes its sums as products, if they are
    std::int64_t unit_tiles;
    const TileBlock* tile_blocks;  // [blocks]
    std::int64_t taps;
    std::int64_t index_bytes;
    std::int64_t weight_bytes;  // of all blocks
    const void* weights;        // [parts][blocks][rows + 1][block_lanes]
    const void* tap_weights;    // [parts][blocks][taps][block_lanes]
    bool hard, strict;
};

// A tensor that spreads over [T, B, depth, height, width, channels]: an address and what to step by, in elements.
struct Spread {
    const void* data;
    std::int64_t t, b, z, y, x, c;
    bool positional() const {
        return b != 0 || z != 0 || y != 0 || x != 0;
    }
};

struct Call {
    const void* words[2 * MAX_TERMS];  // of the event terms, then of the mask terms
    int word_bytes[2 * MAX_TERMS];
    std::int64_t batch, T;
    Spread v, threshold, bias;  // bias.data may be null
    void* out;                  // words [B, depth, height, width, channels], of `rule` [planes, ...]
    int out_bytes;
    void* currents;    // [T, B, ..., channels]: what is added to potentials at each step, in place of neurons; or null
    void* v_out;       // potentials after the last step, or null; of `rule`, where it counts, counts behind them
    const Rule* rule;  // of neurons that are more than integrate-and-fire, or null
    Spread count;      // what they have emitted; data is null where that is nothing
    std::int64_t neurons() const {
        return batch * neurons_of_image;
    }
    std::int64_t neurons_of_image;
    bool coded;  // whether this call's spikes become code
};

// Rows of outputs [row_begin, row_end) of all images, and the blocks [block_begin, block_end) counted over all parts.
struct Task {
    std::int64_t row_begin, row_end, block_begin, block_end;
    void* memory;
    char* code;  // memory that can be executed
};

// Bytes that a task needs of each kind of memory.
struct Needs {
    std::size_t memory, code;
};

}  // namespace fastsnn
