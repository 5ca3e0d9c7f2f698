// Which instruction set the module uses: the best that the processor has, or a lower one that was asked for.
#pragma once

#include <string>
#include <vector>

#include "common/kernels.h"

namespace fastsnn {

std::vector<std::string> instruction_sets();  // that this processor can run, best first
void select_instruction_set(const std::string& name);
const Kernels& kernels();

}  // namespace fastsnn
