// A layer's weights for products (tiles.h): where tiles lie, and what is in them.
#pragma once

#include <vector>

#include "layer/plan.h"

namespace fastsnn {

// Decides how the tiles of all events lie; false if a row of inputs has too many, or a pool counts further than a byte.
bool lay_tiles(Layer& layer);

// The packed weights of each block as tiles: in as many planes as its widest weight needs.
std::vector<std::vector<char>> tiles_of(const Layer& layer, Number number);

}  // namespace fastsnn
