#pragma once

#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

// Backend::rms_norm and Backend::layer_norm. y and x [rows, cols] are float32 or bfloat16 in device memory, y
// may be x; gain and bias [cols] are device memory. Sums are float32 in an order that cols and the types
// alone decide. Shapes are checked on entry (std::logic_error).

void rms_norm(Stream stream, Tensor y, Tensor x, const float* gain, float eps);
void layer_norm(Stream stream, Tensor y, Tensor x, const float* gain, const float* bias, float eps);

}  // namespace lapidary::cuda
