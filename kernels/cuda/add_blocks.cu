#include "kernels/cuda/add_blocks.h"

#include <cuda_platform.h>

#include "kernels/cuda/require.h"

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostDepth = 8;  // of the stack: 64 blocks in a balanced tree take 7

struct Merges {
  int count;
  int8_t of[kMostBlocks];
};

/// y [size] from blocks [merges.count, size]
__global__ void add_all(EarlyStart, float* y, const float* blocks, int64_t size, Merges merges) {
  ptx::follow_previous();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= size) return;
  float stack[kMostDepth];
  int depth = 0;
  for (int b = 0; b < merges.count; ++b) {
    stack[depth++] = blocks[b * size + i];
    for (int m = 0; m < merges.of[b]; ++m, --depth) stack[depth - 2] += stack[depth - 1];
  }
  y[i] = stack[0];
}

}  // namespace

void add_blocks(Stream stream, Tensor y, Tensor blocks, std::span<const int> merges) {
  require(y.dtype == DType::f32 && blocks.dtype == DType::f32, "add_blocks", "all is float32");
  require(merges.size() <= static_cast<size_t>(kMostBlocks), "add_blocks", "there are too many blocks");
  require(blocks.rows() == y.rows() * static_cast<int64_t>(merges.size()) && blocks.cols() == y.cols() &&
              y.stride == y.cols() && blocks.stride == blocks.cols(),
          "add_blocks", "blocks must be [blocks * rows, columns of y], contiguous");
  Merges all{static_cast<int>(merges.size()), {}};
  int depth = 0, deepest = 0;
  for (size_t b = 0; b < merges.size(); ++b) {
    deepest = std::max(deepest, ++depth);
    require(merges[b] >= 0 && merges[b] < depth, "add_blocks", "more sums are merged than there are");
    depth -= merges[b];
    all.of[b] = static_cast<int8_t>(merges[b]);
  }
  require(depth == 1 && deepest <= kMostDepth, "add_blocks", "the blocks must become one sum");
  const int64_t size = y.rows() * y.cols();
  if (size == 0) return;
  launch(stream, dim3(static_cast<unsigned>((size + kThreads - 1) / kThreads)), kThreads, 0, add_all,
         static_cast<float*>(y.data), static_cast<const float*>(blocks.data), size, all);
}

}  // namespace lapidary::cuda
