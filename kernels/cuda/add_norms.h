#pragma once

#include "kernels/cuda/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// Backend::add_rms_norm, in one pass over the rows. x [rows, cols] is float32, y and h are float32 or
/// bfloat16, gains [cols] float32; all in device memory. `pre` may be null. Shapes are checked on entry
/// (std::logic_error).
void add_rms_norm(Stream stream, Tensor h, Tensor x, Tensor y, const float* post, const float* pre,
                  float eps);

}  // namespace lapidary::cuda
