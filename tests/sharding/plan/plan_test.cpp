#include "sharding/plan/plan.h"

#include <gtest/gtest.h>

#include <string>

#include "configs/error.h"

namespace lapidary {
namespace {

const BlockShape kShapes[] = {
    {"3B", 8, 4, 256, 9216},      {"10B", 16, 8, 256, 14336}, {"28B", 32, 16, 128, 36864},
    {"SigLIP", 16, 16, 72, 4304}, {"six", 6, 3, 24, 96},      {"twenty", 20, 5, 10, 300},
    {"three", 3, 1, 5, 17},       {"wide", 40, 8, 16, 1000},
};

TEST(Part, RunsAreDisjointAndCover) {
  for (int64_t n : {0, 1, 7, 16, 100})
    for (int parts : {1, 2, 3, 5, 16}) {
      int64_t at = 0;
      for (int i = 0; i < parts; ++i) {
        EXPECT_EQ(part(n, i, parts).begin, at);
        at = part(n, i, parts).end;
      }
      EXPECT_EQ(at, n);
    }
}

TEST(BlockPlan, RanksCoverEveryHeadAndColumnOnce) {
  for (const BlockShape& shape : kShapes)
    for (int ranks = 1; ranks <= std::min<int64_t>(16, shape.heads); ++ranks) {
      int64_t head = 0, column = 0, kv = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const BlockPlan plan = plan_block(shape, rank, ranks);
        EXPECT_EQ(plan.heads.begin, head) << shape.what << " " << rank << "/" << ranks;
        EXPECT_GT(plan.heads.size(), 0);
        EXPECT_EQ(plan.ffn.begin, column);
        EXPECT_GT(plan.ffn.size(), 0);
        head = plan.heads.end;
        column = plan.ffn.end;
        EXPECT_EQ(plan.out_sums.cuts.back(), plan.heads.size() * shape.head_dim);
        EXPECT_EQ(plan.down_sums.cuts.back(), plan.ffn.size());
        EXPECT_EQ(plan.out_sums.outputs(), plan.out_finish.blocks[static_cast<size_t>(rank)]);
        EXPECT_EQ(plan.down_sums.outputs(), plan.down_finish.blocks[static_cast<size_t>(rank)]);
        // Every query head's KV head is here, and no other.
        const int64_t group = shape.heads / shape.kv_heads;
        EXPECT_EQ(plan.kv_heads.begin, plan.heads.begin / group);
        EXPECT_EQ(plan.kv_heads.end, (plan.heads.end - 1) / group + 1);
        EXPECT_LE(plan.kv_heads.begin, kv);
        kv = plan.kv_heads.end;
      }
      EXPECT_EQ(head, shape.heads);
      EXPECT_EQ(column, shape.ffn);
      EXPECT_EQ(kv, shape.kv_heads);
    }
}

TEST(BlockPlan, PowersOfTwoHoldOneSubtreeEach) {
  for (const BlockShape& shape : {kShapes[0], kShapes[1], kShapes[2], kShapes[3]})
    for (int ranks : {1, 2, 4, 8}) {
      const BlockPlan plan = plan_block(shape, 0, ranks);
      EXPECT_EQ(plan.out_sums.outputs(), 1) << shape.what << " " << ranks;
      EXPECT_EQ(plan.down_sums.outputs(), 1);
    }
}

TEST(BlockPlan, TooManyRanksIsASentenceWithBothNumbers) {
  try {
    plan_block(kShapes[0], 0, 9);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("9 ranks"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("8 attention heads"), std::string::npos) << e.what();
  }
  EXPECT_THROW(plan_block(kShapes[2], 0, 17), Error);
  EXPECT_THROW(plan_block(kShapes[2], 0, 0), Error);
}

TEST(ShardPlan, VocabularyIsCutAtPanels) {
  int64_t at = 0;
  for (int rank = 0; rank < 3; ++rank) {
    const ShardPlan plan = make_plan(kShapes[3], kShapes[0], 353, rank, 3);
    EXPECT_EQ(plan.vocab.begin, at);
    EXPECT_EQ(plan.vocab.begin % 16, 0);
    at = plan.vocab.end;
  }
  EXPECT_EQ(at, 353);
  EXPECT_THROW(make_plan(kShapes[3], kShapes[0], 20, 0, 3), Error);
}

TEST(ShardPlan, AVisionTowerWithTooFewHeadsIsHeldWhole) {
  const BlockShape small{"small", 3, 3, 8, 64};
  for (int rank = 0; rank < 4; ++rank) {
    const ShardPlan plan = make_plan(small, kShapes[0], 512, rank, 4);
    EXPECT_EQ(plan.vision_ranks, 1);
    EXPECT_EQ(plan.vision.heads, (Range{0, 3}));
    EXPECT_EQ(plan.vision.ffn, (Range{0, 64}));
    EXPECT_EQ(plan.decoder.heads.size(), 2);
  }
  EXPECT_EQ(make_plan(small, kShapes[0], 512, 2, 3).vision.heads, (Range{2, 3}));
}

}  // namespace
}  // namespace lapidary
