#pragma once

#include <string>
#include <vector>

#include "kernels/cpu/isa/isa.h"

namespace lapidary::cpu {

/// The instruction sets that this machine, and its operating system, can run: best first, "portable" last.
/// Asks the system for the use of AMX tiles where the processor has them.
std::vector<const Isa*> available_isas();

/// By name, or the best for "auto"; throws std::runtime_error with a sentence that names what there is.
const Isa& choose_isa(const std::string& name);

}  // namespace lapidary::cpu
