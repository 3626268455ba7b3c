#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda/runtime/step_table.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// Backend::rope_and_store. qkv [rows, (heads + 2 * kv_heads) * head_dim] float32 or bfloat16, cos_sin
/// [positions, head_dim] float32 and positions [rows] in device memory; the caller has checked that each
/// position lies in the table. Keys are rounded once, to the cache's type. Shapes are checked on entry
/// (std::logic_error).
void rope_and_store(Stream stream, Tensor qkv, int64_t heads, Tensor cos_sin, const int32_t* positions,
                    std::byte* pages, const KvShape& shape, const StepTable& table);

}  // namespace lapidary::cuda
