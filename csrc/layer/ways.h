// Which way of finding rows of weights a layer can take, and which it takes unless measured otherwise.
#pragma once

#include <cstdint>

#include "layer/layer.h"

namespace fastsnn {

// Channels of a term that one part of its weights has at most, or 0 if it can't be cut up so.
std::int64_t streamed_channels(const EventTerm& e, std::int64_t row_bytes);
std::int64_t coded_channels(const EventTerm& e);

// Digits of how many inputs of a term's pool spike.
std::int64_t digits_of(const EventTerm& e);

// What is chosen, of layers that can.
bool tiles_pay(const Layer& layer, double widest);  // its tiles are laid out, and `widest` is its largest |weight|
bool streams_pay(const Layer& layer);
bool code_pays(const Layer& layer);
// The same of T steps: a layer that can be coded has streams as well.
bool code_pays(const Layer& layer, std::int64_t T);
std::int64_t default_vectors(std::int64_t lanes, std::int64_t outputs, std::int64_t width, std::int64_t rows,
                             int vector_bytes, bool grouped, bool whole);

}  // namespace fastsnn
