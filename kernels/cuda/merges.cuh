#pragma once

#include <cuda_platform.h>

#include <algorithm>
#include <span>

#include "kernels/cuda/require.h"

namespace lapidary::cuda {

/// SumPlan's stack machine for up to kMost blocks and sums of up to kDepth at a time, as kernels take it.
template <int kMost, int kDepth>
struct Merges {
  int count = 0;
  int8_t of[kMost] = {};  // after each block: how many sums are merged

  /// block(b), b < count, added in that order.
  template <class Block>
  __device__ float sum(const Block& block) const {
    float stack[kDepth];
    int depth = 0;
    for (int b = 0; b < count; ++b) {
      stack[depth++] = block(b);
      for (int m = 0; m < of[b]; ++m, --depth) stack[depth - 2] += stack[depth - 1];
    }
    return stack[0];
  }
};

/// `what` is who asks. Throws where the blocks are too many, or do not become one sum.
template <int kMost, int kDepth>
Merges<kMost, kDepth> checked_merges(const char* what, std::span<const int> merges) {
  require(merges.size() <= static_cast<size_t>(kMost), what, "there are too many blocks");
  Merges<kMost, kDepth> all;
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
