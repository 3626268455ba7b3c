#pragma once

#include <ostream>

#include "kernels/tensor.h"

namespace lapidary {

/// Tests are named by what they run on, not by its bytes.
inline void PrintTo(DType dtype, std::ostream* out) { *out << name_of(dtype); }

}  // namespace lapidary
