#pragma once

#include <cstdint>
#include <vector>

namespace lapidary {

/// How the inner dimension of a product is added up. It is cut into leaves; each leaf is summed in float32
/// from left to right; then a stack machine adds the leaves: leaf j is pushed, and merges[j] times the two
/// topmost sums are replaced by (lower + upper). What is left on the stack, bottom first, are the product's
/// outputs. One leaf and no merge is the ordinary product. Fixed leaves and a fixed tree make a sum that does
/// not depend on how many ranks hold the leaves (sharding/plan/sum_tree.h).
struct SumPlan {
  std::vector<int64_t> cuts;  // leaves + 1 ascending positions: 0 … inner size
  std::vector<int> merges;    // one a leaf

  static SumPlan whole(int64_t inner) { return {{0, inner}, {0}}; }
  int leaves() const { return static_cast<int>(merges.size()); }
  int outputs() const {
    int sums = leaves();
    for (int m : merges) sums -= m;
    return sums;
  }
};

}  // namespace lapidary
