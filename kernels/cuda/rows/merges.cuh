#pragma once

#include <cuda_platform.h>

#include <algorithm>
#include <span>

#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {

/// Sums of SumPlan's stack machine, the topmost first: they move in place of an index, and stay in registers.
template <int kDepth>
struct SumStack {
  float sums[kDepth] = {};

  /// Pushes a number, then adds the two topmost sums `merges` times.
  __device__ __forceinline__ void push(float number, int merges) {
    LAPIDARY_UNROLL
    for (int i = kDepth - 1; i > 0; --i) sums[i] = sums[i - 1];
    sums[0] = number;
    for (int m = 0; m < merges; ++m) {
      sums[0] = sums[1] + sums[0];
      LAPIDARY_UNROLL
      for (int i = 1; i + 1 < kDepth; ++i) sums[i] = sums[i + 1];
    }
  }
};

/// SumPlan's stack machine for up to kMax blocks and sums of up to kDepth at a time, as kernels take it.
template <int kMax, int kDepth>
struct Merges {
  int count = 0;
  int8_t of[kMax] = {};  // after each block: how many sums are merged

  /// block(b), b < count, added in that order.
  template <class Block>
  __device__ float sum(const Block& block) const {
    SumStack<kDepth> stack;
    for (int b = 0; b < count; ++b) stack.push(block(b), of[b]);
    return stack.sums[0];
  }
};

/// `what` is who asks. Throws where the blocks are too many, or do not become one sum.
template <int kMax, int kDepth>
Merges<kMax, kDepth> checked_merges(const char* what, std::span<const int> merges) {
  require(merges.size() <= static_cast<size_t>(kMax), what, "there are too many blocks");
  Merges<kMax, kDepth> all;
  all.count = static_cast<int>(merges.size());
  int depth = 0, deepest = 0;
  for (size_t b = 0; b < merges.size(); ++b) {
    deepest = std::max(deepest, ++depth);
    require(merges[b] >= 0 && merges[b] < depth, what, "more sums are merged than there are");
    depth -= merges[b];
    all.of[b] = static_cast<int8_t>(merges[b]);
  }
  require(depth == 1 && deepest <= kDepth, what, "the blocks must become one sum");
  return all;
}

}  // namespace lapidary::cuda
