// A layer made ready for one instruction set: its geometry decided and its weights packed.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "common/kernels.h"
#include "layer/layer.h"

namespace fastsnn {

// One input of a layer, as users give it: weight [outputs, channels / groups, *kernel] of the layer's numbers.
struct TermSpec {
    std::int64_t in[3], channels, groups;
    std::int64_t kernel[3], stride[3], padding[3], dilation[3];
    const void* weight;
};

// How rows of weights are found: from the lists of one strip, summed at once; from streams, part by part
// (streams_cpu.inc); by code that spikes become (code_cpu.inc); or, of grouped convolutions, by looking at every word.
// Or all of them are multiplied, as matrices of 8-bit numbers (tiled_cpu.inc). What a layer cannot do is taken from
// lists.
enum class Way { chosen, lists, streams, code, tiles, words };

class Plan {
  public:
    // `bias_reach` is the largest |bias|, `least_threshold` the smallest threshold: with the weights they tell whether
    // 32-bit sums can leave 32 bits, and then Number::wide takes the place of Number::i32.
    // `vectors` is how many registers a block has: 1, 2, 4 or 8; 0 chooses. Code has one.
    Plan(const Kernels& kernels, Number number, const std::vector<TermSpec>& terms, const std::int64_t out[3],
         std::int64_t outputs, bool hard, bool strict, double bias_reach, double least_threshold, int vectors, Way way);

    // The words in `call` are in the order of the terms given.
    void run(const Call& call, int threads) const;

    const Layer& layer() const {
        return layer_;
    }
    Number number() const {
        return number_;
    }
    const Kernels& kernels() const {
        return *kernels_;
    }

  private:
    template <class F>
    bool split(std::vector<TermSpec>& events, F most_channels);
    struct Free {
        void operator()(void* p) const;
    };
    const Kernels* kernels_;
    Number number_;
    Layer layer_{};
    bool coded_always_;               // or where it pays
    std::vector<std::size_t> order_;  // which input each of the layer's terms reads
    std::unique_ptr<void, Free> weights_, tap_weights_;
    std::vector<TileBlock> tile_blocks_;
};

}  // namespace fastsnn
