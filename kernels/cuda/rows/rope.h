#pragma once

#include <cstdint>

#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// Backend::rope. x [rows, heads * head_dim] float32 or bfloat16, cos_sin [positions, head_dim] float32 and
/// positions [rows] in device memory; the caller has checked that each position lies in the table. Shapes are
/// checked on entry (std::logic_error).
void rope(Stream stream, Tensor x, int64_t head_dim, Tensor cos_sin, const int32_t* positions);

}  // namespace lapidary::cuda
