#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// Backend::add_rms_norm, in one pass over the rows. x [rows, cols] is float32, y and h are float32 or
/// bfloat16, gains [cols] float32; all in device memory. Shapes are checked on entry (std::logic_error).
void add_rms_norm(Stream stream, const AddNorm& to);

}  // namespace lapidary::cuda
