#include "sharding/plan/sum_tree.h"

#include <algorithm>
#include <stdexcept>

namespace lapidary {
namespace {

/// A subtree over leaves [first, first + 2^level), less those past the last leaf.
struct Block {
  int64_t first;
  int level;
};

/// The stack machine that both a rank's leaves and all ranks' blocks run through.
class TreeStack {
 public:
  explicit TreeStack(int64_t leaves) : leaves_(leaves) {
    while ((int64_t{1} << root_level_) < leaves) ++root_level_;
  }

  /// Pushes a block, and returns how many times the two topmost then become one.
  int push(Block block) {
    stack_.push_back(block);
    int merges = 0;
    for (;;) {
      Block& top = stack_.back();
      const int64_t width = int64_t{1} << top.level;
      const bool is_right = (top.first & width) != 0;
      if (is_right) {
        if (stack_.size() < 2) break;
        const Block& below = stack_[stack_.size() - 2];
        if (below.level != top.level || below.first + width != top.first) break;
        stack_.pop_back();
        ++stack_.back().level;
        ++merges;
      } else if (top.first + width >= leaves_ && top.level < root_level_) {
        ++top.level;  // no leaf to its right: it passes up alone
      } else {
        break;
      }
    }
    return merges;
  }

  const std::vector<Block>& blocks() const { return stack_; }

 private:
  int64_t leaves_;
  int root_level_ = 0;
  std::vector<Block> stack_;
};

}  // namespace

SumTree SumTree::of_heads(int64_t heads, int64_t head_dim) {
  std::vector<int64_t> cuts;
  if (heads > kLeaves) {
    for (int64_t i = 0; i <= kLeaves; ++i) cuts.push_back(i * heads / kLeaves * head_dim);
  } else {
    const int64_t leaves_a_head = std::min((kLeaves + heads - 1) / heads, head_dim);
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < leaves_a_head; ++i) cuts.push_back(h * head_dim + i * head_dim / leaves_a_head);
    cuts.push_back(heads * head_dim);
  }
  return SumTree(std::move(cuts));
}

SumTree SumTree::of_columns(int64_t columns) {
  const int64_t leaves = std::min(kLeaves, columns);
  int64_t unit = 32;  // one step of the widest kernels
  while (unit > 1 && columns < leaves * unit) unit /= 2;
  const int64_t units = (columns + unit - 1) / unit;
  std::vector<int64_t> cuts;
  for (int64_t i = 0; i <= leaves; ++i) cuts.push_back(std::min(columns, i * units / leaves * unit));
  return SumTree(std::move(cuts));
}

Range SumTree::columns(Range leaves) const {
  return {cuts_.at(static_cast<size_t>(leaves.begin)), cuts_.at(static_cast<size_t>(leaves.end))};
}

SumPlan SumTree::plan(Range leaves) const {
  if (leaves.size() <= 0) throw std::logic_error("a rank without leaves");
  TreeStack stack(this->leaves());
  SumPlan plan;
  const int64_t origin = columns(leaves).begin;
  plan.cuts.push_back(0);
  for (int64_t leaf = leaves.begin; leaf < leaves.end; ++leaf) {
    plan.cuts.push_back(cuts_.at(static_cast<size_t>(leaf) + 1) - origin);
    plan.merges.push_back(stack.push({leaf, 0}));
  }
  return plan;
}

SumTree::Finish SumTree::finish(std::span<const Range> leaves_of_rank) const {
  Finish finish;
  TreeStack whole(leaves());
  for (const Range& mine : leaves_of_rank) {
    TreeStack stack(leaves());
    for (int64_t leaf = mine.begin; leaf < mine.end; ++leaf) stack.push({leaf, 0});
    finish.blocks.push_back(static_cast<int>(stack.blocks().size()));
    for (const Block& block : stack.blocks()) finish.merges.push_back(whole.push(block));
  }
  if (whole.blocks().size() != 1) throw std::logic_error("the ranks' leaves do not make one tree");
  return finish;
}

}  // namespace lapidary
