#pragma once

#include <span>

#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// y [rows, n] = blocks [merges.size() * rows, n] added by SumPlan's stack machine; both float32 and
/// contiguous. Throws std::logic_error for shapes that don't fit, merges that leave more than one sum, and
/// more than kMaxBlocks blocks.
constexpr int kMaxBlocks = 64;
void add_blocks(Stream stream, Tensor y, Tensor blocks, std::span<const int> merges);

}  // namespace lapidary::cuda
