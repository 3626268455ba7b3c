#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/cuda/matmul/matmul_kernels.h"

// Whether the decoder's products of few rows keep all multiprocessors of an H200 busy. Only sums are cut
// here: nothing is computed.

namespace lapidary::cuda {
namespace {

constexpr int kMultiprocessors = 132;

struct Model {
  const char* name;
  int64_t hidden, heads, kv_heads, head_dim, ffn;
};
constexpr Model kModels[] = {
    {"3B", 2304, 8, 4, 256, 9216}, {"10B", 3584, 16, 8, 256, 14336}, {"28B", 4608, 32, 16, 128, 36864}};

struct Weight {
  const char* name;
  int64_t out, in;
  int leaves;  // of the inner dimension on a rank
};

/// A rank's. Row-parallel weights have their share of 16 fixed leaves, or one where sums are the library's.
std::vector<Weight> weights_of(const Model& m, int64_t tp, bool deterministic) {
  const int leaves = deterministic ? static_cast<int>(16 / tp) : 1;
  const int64_t kv = std::max<int64_t>(1, m.kv_heads / tp);
  return {{"qkv", (m.heads / tp + 2 * kv) * m.head_dim, m.hidden, 1},
          {"o", m.hidden, m.heads / tp * m.head_dim, leaves},
          {"gate_up", 2 * m.ffn / tp, m.hidden, 1},
          {"down", m.hidden, m.ffn / tp, leaves}};
}

SumUnits leaves_of(const Weight& w) {
  SumPlan plan{{0}, {}};
  for (int leaf = 0; leaf < w.leaves; ++leaf) {
    plan.cuts.push_back(w.in * (leaf + 1) / w.leaves);
    plan.merges.push_back(leaf > 0 ? 1 : 0);
  }
  return units_of(plan, w.in);
}

int64_t blocks_of(const Weight& w, int64_t rows) {
  const SumUnits units = skinny_units(leaves_of(w), w.out, rows, kMultiprocessors);
  return (w.out + skinny_channels(rows) - 1) / skinny_channels(rows) * units.count;
}

class SkinnyProducts : public testing::TestWithParam<bool> {
 protected:
  /// Calls each(name, tp, weight) for all of a model's.
  template <class Each>
  void for_all(const Model& model, const Each& each) {
    for (const int64_t tp : {1, 2, 4, 8})
      for (const Weight& w : weights_of(model, tp, GetParam()))
        each(std::string(model.name) + " " + w.name + " of TP " + std::to_string(tp), tp, w);
  }
};

INSTANTIATE_TEST_SUITE_P(Sums, SkinnyProducts, testing::Bool(),
                         [](const auto& test) { return test.param ? "Deterministic" : "OfOneLeaf"; });

TEST_P(SkinnyProducts, OfUpTo16RowsHaveABlockForEachMultiprocessorOrAreOverBeforeOneWouldHelp) {
  for (const Model& model : kModels)
    for_all(model, [](const std::string& name, int64_t, const Weight& w) {
      for (const int64_t rows : {1, 8, 16}) {
        if (blocks_of(w, rows) >= kMultiprocessors) continue;
        // The whole weight then is read in 1.7 us at 4.3 TB/s, little more than one read lasts, and all of it
        // is asked for before the product's input is there: a block asks for its first stage of 128 columns
        // and 1024 bytes of each row behind it.
        EXPECT_LE(w.out * w.in * 2, 7'400'000) << name;
        const SumUnits units = skinny_units(leaves_of(w), w.out, rows, kMultiprocessors);
        for (int u = 0; u < units.count; ++u) EXPECT_LE(units.columns(u), 128 + 512) << name;
        const std::vector<std::string> small{"3B qkv of TP 4", "3B o of TP 4",    "3B qkv of TP 8",
                                             "3B o of TP 8",   "10B qkv of TP 8", "10B o of TP 8"};
        EXPECT_EQ(std::count(small.begin(), small.end(), name), 1)
            << name << ": " << blocks_of(w, rows) << " blocks";
      }
    });
}

TEST_P(SkinnyProducts, OfTheLargestModelFillTheDeviceAtLargerBatches) {
  for_all(kModels[2], [](const std::string& name, int64_t tp, const Weight& w) {
    EXPECT_GE(blocks_of(w, 16), kMultiprocessors) << name;
    EXPECT_GE(blocks_of(w, 32), tp <= 4 ? kMultiprocessors : 72) << name;
    EXPECT_GE(blocks_of(w, 64), tp == 1 ? kMultiprocessors : 36) << name;
  });
}

TEST_P(SkinnyProducts, AreNotCutWhereTheirTilesAreEnough) {
  for_all(kModels[2], [](const std::string& name, int64_t, const Weight& w) {
    const SumUnits leaves = leaves_of(w);
    for (const int64_t rows : {1, 32, 64}) {
      const SumUnits units = skinny_units(leaves, w.out, rows, kMultiprocessors);
      const int64_t tiles = (w.out + skinny_channels(rows) - 1) / skinny_channels(rows);
      const bool enough = tiles * leaves.count >= kMultiprocessors * skinny_blocks(rows);
      EXPECT_FALSE(enough && units.are_pieces) << name << ", " << rows << " rows";
    }
  });
}

// The order of a sum: these numbers may be changed, but then the bits of every product change with them.
TEST(Pieces, FollowFromALeafsLength) {
  const auto cuts_of = [](int n) {
    std::vector<int> cuts;
    for (int p = 0; p < pieces_of(n); ++p) cuts.push_back(piece_begin(n, pieces_of(n), p));
    return cuts;
  };
  EXPECT_EQ(cuts_of(256), (std::vector<int>{0}));
  EXPECT_EQ(cuts_of(257), (std::vector<int>{0, 256}));
  EXPECT_EQ(cuts_of(1152), (std::vector<int>{0, 256, 512, 768, 1024}));
  EXPECT_EQ(cuts_of(2304), (std::vector<int>{0, 256, 768, 1280, 1792}));
  EXPECT_EQ(cuts_of(4608), (std::vector<int>{0, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096}));
  EXPECT_EQ(pieces_of(9216), 9);
  EXPECT_EQ(pieces_of(36864), 36);
  EXPECT_LE(pieces_of(36864), SumUnits::kMax);
  for (int n = 1; n < 40000; n += 37)
    for (int p = 0, pieces = pieces_of(n); p < pieces; ++p) {
      const int length = (p + 1 < pieces ? piece_begin(n, pieces, p + 1) : n) - piece_begin(n, pieces, p);
      ASSERT_GT(length, 0) << n;
      ASSERT_LE(length, longest_piece(n)) << n;
    }
}

TEST(Pieces, OfSeveralLeavesAreAddedLeafByLeaf) {
  const SumUnits units = split_into_pieces(units_of({{0, 600, 700, 1300}, {0, 1, 1}}, 1300));
  ASSERT_EQ(units.count, 3 + 1 + 3);
  EXPECT_EQ(std::vector<int>(units.cuts, units.cuts + 8),
            (std::vector<int>{0, 256, 512, 600, 700, 956, 1212, 1300}));
  EXPECT_EQ(std::vector<int>(units.merges, units.merges + 7), (std::vector<int>{0, 1, 1, 1, 0, 1, 2}));
  // More than kernels take stay leaves.
  const SumUnits many = split_into_pieces(units_of({{0, 33 * 1024, 66 * 1024}, {0, 1}}, 66 * 1024));
  EXPECT_EQ(many.count, 2);
  EXPECT_FALSE(many.are_pieces);
}

}  // namespace
}  // namespace lapidary::cuda
