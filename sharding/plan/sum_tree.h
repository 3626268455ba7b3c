#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "sharding/plan/range.h"

namespace lapidary {

/// How a row-parallel product is added up, whoever holds it. The inner dimension is cut into about 16 leaves,
/// and the leaves are added in one binary tree: leaf i sits at place i under a perfect binary tree; a node
/// adds its left and right half, and one whose right half holds no leaf passes its left half up. A rank holds
/// a run of whole leaves, adds the whole subtrees in it ("blocks"), and the ranks' blocks finish the same
/// tree. So the sum has the same bits on 1, 2, 3, … ranks.
class SumTree {
 public:
  static constexpr int64_t kLeaves = 16;

  /// Over heads * head_dim columns. No leaf crosses a head: with up to 16 heads each head is ceil(16 / heads)
  /// leaves; with more, 16 leaves hold near-equal runs of whole heads.
  static SumTree of_heads(int64_t heads, int64_t head_dim);
  /// Over `columns` that may be cut anywhere: 16 near-equal leaves, at multiples of 32 where there are
  /// enough.
  static SumTree of_columns(int64_t columns);

  int64_t leaves() const { return static_cast<int64_t>(cuts_.size()) - 1; }
  /// Columns [begin, end) of a run of leaves.
  Range columns(Range leaves) const;

  /// What the holder of `leaves` computes: cuts relative to its first column; one output a block.
  SumPlan plan(Range leaves) const;

  /// How the blocks of all ranks, in rank order, are added to the whole sum.
  struct Finish {
    std::vector<int> blocks;  // a rank
    std::vector<int> merges;  // a block, as in SumPlan
    int total() const { return static_cast<int>(merges.size()); }
  };
  Finish finish(std::span<const Range> leaves_of_rank) const;

 private:
  explicit SumTree(std::vector<int64_t> cuts) : cuts_(std::move(cuts)) {}
  std::vector<int64_t> cuts_;
};

}  // namespace lapidary
