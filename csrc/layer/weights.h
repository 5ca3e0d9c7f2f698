// A layer's weights: what their sums can reach, which of them repeat, and how they are laid out for the kernels.
#pragma once

#include <vector>

#include "layer/plan.h"

namespace fastsnn {

// How far from zero spikes drive an output: weights of one sign add up.
double reach(const std::vector<TermSpec>& terms, std::int64_t outputs, Number number);

// The largest |weight|.
double widest(const std::vector<TermSpec>& terms, std::int64_t outputs, Number number);

// How many positions along dimension `d` have one weight: a pool in front of the convolution.
std::int64_t pool_of(const TermSpec& term, std::int64_t outputs, int d, Number number);

// Fills the rows and taps of all blocks of a layer whose geometry is decided; `events` and `masks` are its terms.
void pack(const Layer& layer, Number number, const std::vector<TermSpec>& events, const std::vector<TermSpec>& masks,
          void* weights, void* tap_weights);

}  // namespace fastsnn
