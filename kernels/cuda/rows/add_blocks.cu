#include "kernels/cuda/rows/add_blocks.h"

#include <cuda_platform.h>

#include "kernels/cuda/rows/merges.cuh"

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxDepth = 8;  // of the stack: 64 blocks in a balanced tree take 7

using BlockMerges = Merges<kMaxBlocks, kMaxDepth>;

/// y [size] from blocks [merges.count, size]
__global__ void add_all(EarlyStart, float* y, const float* blocks, int64_t size, BlockMerges merges) {
  ptx::follow_previous();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= size) return;
  y[i] = merges.sum([&](int b) { return blocks[b * size + i]; });
}

}  // namespace

void add_blocks(Stream stream, Tensor y, Tensor blocks, std::span<const int> merges) {
  require(y.dtype == DType::f32 && blocks.dtype == DType::f32, "add_blocks", "all is float32");
  require(blocks.rows() == y.rows() * static_cast<int64_t>(merges.size()) && blocks.cols() == y.cols() &&
              y.stride == y.cols() && blocks.stride == blocks.cols(),
          "add_blocks", "blocks must be [blocks * rows, columns of y], contiguous");
  const auto all = checked_merges<kMaxBlocks, kMaxDepth>("add_blocks", merges);
  const int64_t size = y.rows() * y.cols();
  if (size == 0) return;
  launch(stream, dim3(static_cast<unsigned>((size + kThreads - 1) / kThreads)), kThreads, 0, add_all,
         static_cast<float*>(y.data), static_cast<const float*>(blocks.data), size, all);
}

}  // namespace lapidary::cuda
