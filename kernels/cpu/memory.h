#pragma once

#include <cstddef>

#include "kernels/tensor.h"

namespace lapidary::cpu {

/// Zeroed and 64-byte aligned. From 2 MiB on straight from the system, at a multiple of 2 MiB and with huge
/// pages asked for: a product walks through whole weights, and small pages would cost it a walk of the page
/// table each. Throws std::bad_alloc.
Buffer allocate(size_t bytes);

}  // namespace lapidary::cpu
