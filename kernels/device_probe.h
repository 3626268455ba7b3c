#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"

namespace lapidary {

/// What one GPU can do at most, seen in this very run; figures stand beside these. Bytes a second, seconds.
struct DeviceRates {
  double read = 0;    // of its memory, each byte once, by a kernel of our own
  double copy = 0;    // of its memory, bytes read and bytes written; the faster of our kernel and the driver
  double upload = 0;  // from pinned memory of the host
  double download = 0;            // to it
  double boundary = 0;            // from one kernel of a graph to the next, which waits for it
  double dependent_boundary = 0;  // the same where the next is started early (programmatic); 0: not possible
};

/// Of the backend's device, over `bytes` of its memory, which hold random numbers. What the kernels read and
/// write is checked first (std::runtime_error). Throws std::logic_error for a backend of host memory.
DeviceRates measure_device(Backend& backend, size_t bytes);

/// Seconds of x [rows, in] · wᵀ [out, in] in bfloat16 by NVIDIA's library, the fastest of the ways that it
/// proposes for this shape, on random numbers.
double library_product_seconds(Backend& backend, int64_t rows, int64_t out, int64_t in);

}  // namespace lapidary
