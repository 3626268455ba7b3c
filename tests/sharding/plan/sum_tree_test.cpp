#include "sharding/plan/sum_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <stdexcept>

#include "sharding/comm/tree_finish.h"
#include "sharding/plan/plan.h"

namespace lapidary {
namespace {

/// The outputs of a plan over given leaf values, by the definition in SumPlan.
std::vector<float> run_plan(const SumPlan& plan, const float* leaves) {
  std::vector<float> stack;
  for (size_t j = 0; j < plan.merges.size(); ++j) {
    stack.push_back(leaves[j]);
    for (int m = 0; m < plan.merges[j]; ++m) {
      const float high = stack.back();
      stack.pop_back();
      stack.back() += high;
    }
  }
  return stack;
}

TEST(SumTree, LeavesCoverTheColumnsAndCrossNoHead) {
  for (int64_t heads : {1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 32, 40}) {
    const int64_t head_dim = 24;
    const SumTree tree = SumTree::of_heads(heads, head_dim);
    EXPECT_GE(tree.leaves(), 16) << heads;
    EXPECT_LE(tree.leaves(), 30) << heads;
    EXPECT_EQ(tree.columns({0, tree.leaves()}), (Range{0, heads * head_dim}));
    for (int64_t i = 0; i < tree.leaves(); ++i) {
      const Range columns = tree.columns({i, i + 1});
      EXPECT_GT(columns.size(), 0);
      if (heads <= 16) {
        EXPECT_EQ(columns.begin / head_dim, (columns.end - 1) / head_dim);
      } else {
        EXPECT_EQ(columns.begin % head_dim, 0);
      }
    }
  }
  for (int64_t columns : {1, 3, 16, 17, 96, 300, 511, 512, 4304, 9216, 36864}) {
    const SumTree tree = SumTree::of_columns(columns);
    EXPECT_EQ(tree.leaves(), std::min<int64_t>(16, columns));
    EXPECT_EQ(tree.columns({0, tree.leaves()}), (Range{0, columns}));
    for (int64_t i = 0; i < tree.leaves(); ++i) EXPECT_GT(tree.columns({i, i + 1}).size(), 0) << columns;
  }
}

TEST(SumTree, SixteenLeavesAreAPerfectTree) {
  const SumPlan plan = SumTree::of_columns(9216).plan({0, 16});
  EXPECT_EQ(plan.merges, (std::vector<int>{0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0, 4}));
  EXPECT_EQ(plan.outputs(), 1);
}

TEST(SumTree, ARunInTheMiddleGivesItsMaximalSubtrees) {
  const SumTree tree = SumTree::of_columns(512);
  EXPECT_EQ(tree.plan({0, 6}).outputs(), 2);    // [0,4) [4,6)
  EXPECT_EQ(tree.plan({5, 10}).outputs(), 3);   // [5] [6,8) [8,10)
  EXPECT_EQ(tree.plan({10, 16}).outputs(), 2);  // [10,12) [12,16)
  EXPECT_THROW(tree.plan({3, 3}), std::logic_error);
}

/// The property the whole project leans on: any deal of leaves to ranks gives the same bits.
TEST(SumTree, EveryDealOfLeavesGivesTheSameBits) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const SumTree& tree : {SumTree::of_heads(8, 256), SumTree::of_heads(6, 24), SumTree::of_heads(5, 9),
                              SumTree::of_heads(3, 8), SumTree::of_columns(4304), SumTree::of_columns(7)}) {
    std::vector<float> leaves(static_cast<size_t>(tree.leaves()));
    for (float& leaf : leaves) leaf = normal(random);
    const float whole = run_plan(tree.plan({0, tree.leaves()}), leaves.data()).at(0);
    for (int trial = 0; trial < 200; ++trial) {
      const int ranks = 1 + static_cast<int>(random() % static_cast<unsigned>(tree.leaves()));
      std::vector<int64_t> edges{0, tree.leaves()};
      while (static_cast<int>(edges.size()) <= ranks) {
        const int64_t edge = 1 + static_cast<int64_t>(random() % static_cast<unsigned>(tree.leaves()));
        if (std::find(edges.begin(), edges.end(), edge) == edges.end()) edges.push_back(edge);
        if (static_cast<int64_t>(edges.size()) == tree.leaves() + 1) break;
      }
      std::sort(edges.begin(), edges.end());
      std::vector<Range> deal;
      std::vector<float> blocks;
      for (size_t i = 0; i + 1 < edges.size(); ++i) {
        deal.push_back({edges[i], edges[i + 1]});
        for (float sum : run_plan(tree.plan(deal.back()), leaves.data() + edges[i])) blocks.push_back(sum);
      }
      const SumTree::Finish finish = tree.finish(deal);
      ASSERT_EQ(static_cast<size_t>(finish.total()), blocks.size());
      std::vector<const float*> pointers;
      for (const float& block : blocks) pointers.push_back(&block);
      float result = 0;
      finish_tree(&result, pointers, finish.merges, 1);
      ASSERT_EQ(result, whole);
    }
  }
}

TEST(SumTree, AMissingLeafIsRefused) {
  const SumTree tree = SumTree::of_columns(512);
  const std::vector<Range> deal{{0, 4}, {5, 16}};
  EXPECT_THROW(tree.finish(deal), std::logic_error);
}

}  // namespace
}  // namespace lapidary
