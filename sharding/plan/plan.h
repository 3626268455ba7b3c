#pragma once

#include <vector>

#include "sharding/plan/range.h"
#include "sharding/plan/sum_tree.h"

namespace lapidary {

/// [0, n) in `parts` near-equal runs.
Range part(int64_t n, int index, int parts);

/// One transformer stack cut over ranks, by whole heads and whole leaves of the MLP's sum tree.
struct BlockPlan {
  Range heads;        // query heads
  Range kv_heads;     // those the query heads read; a head whose group two ranks share is held by both
  Range ffn;          // MLP columns
  SumPlan out_sums;   // of the attention's output projection, over this rank's heads
  SumPlan down_sums;  // of the MLP's second matrix, over this rank's columns
  SumTree::Finish out_finish, down_finish;
};

/// Shape of a stack, as the plan needs it.
struct BlockShape {
  const char* what;  // "the decoder": names the stack in errors
  int64_t heads, kv_heads, head_dim, ffn;
};

/// A pure function of shape, rank and ranks. Throws a sentence with both numbers when there are more ranks
/// than query heads or leaves (16), or fewer than one.
BlockPlan plan_block(const BlockShape& shape, int rank, int ranks);
/// The most ranks that can share a stack.
int64_t max_ranks(const BlockShape& shape);

/// What one rank of a tensor-parallel group holds.
struct ShardPlan {
  int rank = 0, ranks = 1;
  BlockPlan vision, decoder;
  int vision_ranks =
      1;        // that share a vision tower: all, or 1 where it has too few heads and each rank has it whole
  Range vocab;  // rows of the embedding and of the head, in whole panels of 16
};
ShardPlan make_plan(const BlockShape& vision, const BlockShape& decoder, int64_t vocab, int rank, int ranks);

}  // namespace lapidary
