#pragma once

#include <cstdint>

namespace lapidary::emulation {

/// Kernels that all devices have run, in this process.
int64_t kernels_run();

}  // namespace lapidary::emulation
