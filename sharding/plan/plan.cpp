#include "sharding/plan/plan.h"

#include <algorithm>

#include "configs/error.h"

namespace lapidary {
namespace {

/// Query heads are dealt whole; where 16 leaves hold several heads each, whole leaves are.
struct HeadCut {
  Range heads, leaves;
};

HeadCut cut_heads(const BlockShape& shape, const SumTree& tree, int rank, int ranks) {
  const int64_t units = std::min(shape.heads, SumTree::kLeaves);
  const Range mine = part(units, rank, ranks);
  const int64_t leaves_a_unit = tree.leaves() / units;
  HeadCut cut;
  cut.leaves = {mine.begin * leaves_a_unit, mine.end * leaves_a_unit};
  const Range columns = tree.columns(cut.leaves);
  cut.heads = {columns.begin / shape.head_dim, columns.end / shape.head_dim};
  return cut;
}

}  // namespace

Range part(int64_t n, int index, int parts) { return {n * index / parts, n * (index + 1) / parts}; }

int64_t max_ranks(const BlockShape& shape) { return std::min({shape.heads, SumTree::kLeaves, shape.ffn}); }

BlockPlan plan_block(const BlockShape& shape, int rank, int ranks) {
  const int64_t most = max_ranks(shape);
  if (ranks < 1 || ranks > most)
    fail("tensor parallelism over ", ranks, " ranks does not fit ", shape.what, ": it has ", shape.heads,
         " attention heads, so at most ", most, " ranks");
  const SumTree out_tree = SumTree::of_heads(shape.heads, shape.head_dim);
  const SumTree down_tree = SumTree::of_columns(shape.ffn);

  std::vector<Range> out_leaves, down_leaves;
  for (int r = 0; r < ranks; ++r) {
    out_leaves.push_back(cut_heads(shape, out_tree, r, ranks).leaves);
    down_leaves.push_back(part(down_tree.leaves(), r, ranks));
  }
  const auto mine = static_cast<size_t>(rank);
  const int64_t group = shape.heads / shape.kv_heads;

  BlockPlan plan;
  plan.heads = cut_heads(shape, out_tree, rank, ranks).heads;
  plan.kv_heads = {plan.heads.begin / group, (plan.heads.end + group - 1) / group};
  plan.ffn = down_tree.columns(down_leaves[mine]);
  plan.out_sums = out_tree.plan(out_leaves[mine]);
  plan.down_sums = down_tree.plan(down_leaves[mine]);
  plan.out_finish = out_tree.finish(out_leaves);
  plan.down_finish = down_tree.finish(down_leaves);
  return plan;
}

ShardPlan make_plan(const BlockShape& vision, const BlockShape& decoder, int64_t vocab, int rank, int ranks) {
  constexpr int64_t kPanel = Backend::kPackRows;
  const int64_t panels = (vocab + kPanel - 1) / kPanel;
  ShardPlan plan;
  plan.rank = rank;
  plan.ranks = ranks;
  plan.decoder = plan_block(decoder, rank, ranks);
  plan.vision_ranks = ranks <= max_ranks(vision) ? ranks : 1;
  plan.vision = plan_block(vision, plan.vision_ranks > 1 ? rank : 0, plan.vision_ranks);
  if (panels < ranks) fail("a vocabulary of ", vocab, " rows is too small for ", ranks, " ranks");
  const Range mine = part(panels, rank, ranks);
  plan.vocab = {mine.begin * kPanel, std::min(vocab, mine.end * kPanel)};
  return plan;
}

}  // namespace lapidary
