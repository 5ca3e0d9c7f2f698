// The registers of matrices (AMX), which a process has to ask its system for.
#pragma once

namespace fastsnn {

// Whether this process may use them. Asks the first time.
bool matrices_available();

}  // namespace fastsnn
