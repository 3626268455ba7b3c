#include "kernels/cuda/matmul/matmul.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "kernels/cuda/matmul/matmul_kernels.h"
#include "tests/kernels/cuda/matmul_support.h"

namespace lapidary::cuda {
namespace {

class MatmulTest : public testing::TestWithParam<DType> {
 protected:
  DType dtype() const { return GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(EveryWeight, MatmulTest, testing::Values(DType::f32, DType::bf16, DType::e4m3),
                         [](const auto& test) { return std::string(name_of(test.param)); });

// Both sides of where a kernel, its tiles or its parts change.
const std::vector<int64_t> kRowCounts{1, 2, 7, 8, 9, 16, 17, 33, 64, 65, 130};

TEST_P(MatmulTest, IsTheProductAtAwkwardSizes) {
  for (const int64_t rows : kRowCounts) {
    for (const auto& [out, in] : std::vector<std::pair<int64_t, int64_t>>{
             {1, 257}, {15, 130}, {17, 17}, {72, 72}, {130, 15}, {257, 1}, {40, 64}}) {
      PackedProduct product(rows, out, in, dtype(), SumPlan::whole(in));
      expect_close(product, product.run_part(0, rows));
    }
  }
}

TEST_P(MatmulTest, IsTheProductOverSeveralPieces) {
  for (const int64_t rows : {1, 12, 40, 70}) {
    PackedProduct product(rows, 40, 2329, dtype(), SumPlan::whole(2329));
    expect_close(product, product.run_part(0, rows));
  }
}

TEST_P(MatmulTest, TakesViewsOfBothDtypes) {
  std::vector<float> bias(37);
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i) / 3;
  for (const int64_t rows : {5, 66}) {
    for (const int64_t in : {64, 67}) {
      PackedProduct product(rows, 37, in, dtype(), SumPlan::whole(in));
      if (dtype() == DType::f32)  // so that x is the same in both dtypes
        for (float& v : product.x) v = from_bf16(to_bf16(v));
      for (const DType x : {DType::f32, DType::bf16}) {
        for (const DType y : {DType::f32, DType::bf16}) {
          for (const Layout& layout :
               {Layout{x, y, 0, 0, 0, 0}, Layout{x, y, 8, 88, 4, 7}, Layout{x, y, 3, 10, 5, 6}}) {
            const auto result = run_rows(product.scratch, product, product.matrix, 0, rows, layout, &bias);
            expect_close(product, result, bias.data(), y);
          }
        }
      }
    }
  }
}

/// Plans over `in` columns with cuts at multiples of `unit` (but the last).
std::vector<SumPlan> plans(int64_t in, int64_t unit) {
  std::vector<SumPlan> all{
      tree_plan(in, 4),
      tree_plan(in, 16),
      {{0, 11, 40, 41, 80, 100, 129}, {0, 1, 0, 2, 0, 1}},  // two outputs
      {{0, 50, 50, 129}, {0, 0, 0}},                        // three, one of an empty leaf
  };
  for (SumPlan& plan : all) {
    const int64_t old = plan.cuts.back();
    for (int64_t& cut : plan.cuts) cut = cut * in / old / unit * unit;
    plan.cuts.back() = in;
  }
  return all;
}

TEST_P(MatmulTest, AddsLeavesAsThePlanSays) {
  for (const auto& [in, unit] : {std::pair<int64_t, int64_t>{129, 1}, {517, 16}}) {
    for (const SumPlan& plan : plans(in, unit)) {
      for (const int64_t rows : {1, 20, 66}) {
        PackedProduct product(rows, 70, in, dtype(), plan);
        expect_close(product, product.run_part(0, rows));
      }
    }
  }
}

TEST_P(MatmulTest, AddsManyUnits) {
  PackedProduct product(64, 70, 640, dtype(), tree_plan(640, 40));
  expect_close(product, product.run_part(0, 64));
}

TEST_P(MatmulTest, IsExactOnWholeNumbers) {
  if (dtype() == DType::e4m3) return;  // its scales are no whole numbers
  for (const SumPlan& plan : {SumPlan::whole(1200), tree_plan(1200, 3), tree_plan(1200, 15)}) {
    for (const int64_t rows : {3, 66}) {
      PackedProduct product(rows, 33, 1200, dtype(), plan, true);
      const std::vector<float> y = product.run_part(0, rows);
      int64_t wrong = 0;
      product.for_each([&](int64_t at, double sum, double) { wrong += static_cast<double>(y[at]) != sum; });
      EXPECT_EQ(wrong, 0);
    }
  }
}

// Also: the kernels for few and for many rows give the same bits.
TEST_P(MatmulTest, GivesARowTheSameBitsInAnyBatch) {
  for (const auto& [in, plan] :
       {std::pair{1100, SumPlan::whole(1100)}, {272, tree_plan(272, 4)}, {160, tree_plan(160, 7)}}) {
    PackedProduct product(130, 40, in, dtype(), plan);
    const std::vector<float> whole = product.run_part(0, 130);
    for (const int64_t rows : kRowCounts) {
      const int64_t first = rows < 130 ? 130 - rows - 1 : 0;
      const Layout layout{DType::f32, DType::f32, rows % 2, 1, 0, 0};
      const std::vector<float> part = product.run_part(first, first + rows, layout);
      std::vector<float> expected;
      for (int o = 0; o < plan.outputs(); ++o) {
        const auto from = whole.begin() + (o * 130 + first) * 40;
        expected.insert(expected.end(), from, from + rows * 40);
      }
      EXPECT_TRUE(same_bits(part, expected)) << rows << " rows of " << in;
    }
  }
}

/// Rows of x (bf16) through one kernel, `units` being the leaf or its pieces.
std::vector<float> run_kernel(PackedProduct& product, const SumUnits& units, bool tickets) {
  const PlacedRows x(product.x.data(), product.rows, product.in, DType::bf16, 0, (product.in + 7) / 8 * 8);
  const Buffer y = allocate(static_cast<size_t>(product.rows * product.out) * sizeof(float));
  ProductArgs p;
  p.w = product.matrix.data.get();
  p.w_pitch = row_bytes(product.matrix);
  p.w_dtype = product.matrix.dtype;
  p.scales = reinterpret_cast<const float*>(product.matrix.scales.get());
  p.x = x.tensor.data;
  p.x_stride = x.tensor.stride;
  p.x_vector = product.in % 8 == 0;
  p.y = y.get();
  p.y_stride = p.partial_pitch = p.out = product.out;
  p.rows = product.rows;
  const Buffer partials =
      allocate(static_cast<size_t>(units.count * product.rows * product.out) * sizeof(float));
  if (units.count > 1) p.partials = reinterpret_cast<float*>(partials.get());
  const Buffer ticket = allocate(static_cast<size_t>(product.out) * sizeof(uint32_t));
  if (product.rows > kSkinnyRows) {
    tiled_product({}, p, units);
  } else {
    skinny_product({}, p, units, true, tickets ? reinterpret_cast<uint32_t*>(ticket.get()) : nullptr);
  }
  if (units.count > 1 && !tickets) merge_units({}, p, units);
  return to_host(view(y.get(), DType::f32, product.rows, product.out));
}

TEST_P(MatmulTest, GivesTheSameBitsWhetherPiecesAreBlocksOfTheirOwnOrNot) {
  if (dtype() == DType::f32) return;  // it has no pieces
  for (const SumPlan& plan : {SumPlan::whole(2568), SumPlan::whole(1040), SumPlan{{0, 624, 1040}, {0, 1}}}) {
    const int64_t in = plan.cuts.back();
    for (const int64_t rows : {3, 12, 30, 60, 70}) {
      PackedProduct product(rows, 68, in, dtype(), plan);
      const SumUnits whole = units_of(product.sums, in), pieces = split_into_pieces(whole);
      EXPECT_GT(pieces.count, plan.leaves());
      const std::vector<float> y = run_kernel(product, whole, false);
      expect_close(product, y);
      // Where they fit the last block's memory in two goes.
      const bool fit = rows <= kSkinnyRows && skinny_can_merge(rows, pieces.count);
      EXPECT_EQ(fit, rows <= 30) << rows << " rows of " << in;
      for (const bool tickets : {false, true})
        if (!tickets || fit) {
          EXPECT_TRUE(same_bits(run_kernel(product, pieces, tickets), y)) << rows << " rows of " << in;
        }
    }
  }
}

/// Leaves [first, last) of a product as a rank of its own would hold them.
std::vector<float> run_leaves(const PackedProduct& whole, int first, int last, std::vector<int> merges) {
  const int64_t begin = whole.sums.cuts[first], in = whole.sums.cuts[last] - begin;
  SumPlan plan{{}, std::move(merges)};
  for (int j = first; j <= last; ++j) plan.cuts.push_back(whole.sums.cuts[j] - begin);
  PackedProduct part(whole.rows, whole.out, in, whole.matrix.dtype, plan);
  for (int64_t r = 0; r < whole.rows; ++r) std::copy_n(&whole.x[r * whole.in + begin], in, &part.x[r * in]);
  for (int64_t r = 0; r < whole.out; ++r) std::copy_n(&whole.w[r * whole.in + begin], in, &part.w[r * in]);
  std::vector<float> largest(static_cast<size_t>(whole.out));
  for (int64_t r = 0; r < whole.out; ++r)
    for (int64_t k = 0; k < whole.in; ++k)
      largest[r] = std::max(largest[r], std::abs(whole.w[r * whole.in + k]));
  part.matrix = pack_weight(part, whole.matrix.dtype, {}, largest.data());
  return part.run_part(0, whole.rows);
}

TEST_P(MatmulTest, SubtreesAddedLaterGiveTheBitsOfTheWholeTree) {
  for (const int64_t in : {16 * 21 + 5, 16 * 32}) {
    for (const int64_t rows : {5, 66}) {
      PackedProduct product(rows, 40, in, dtype(), tree_plan(in, 16));
      const std::vector<float> whole = product.run_part(0, rows);
      // Leaves 0-5 make a subtree of four and one of two; 6-15 one of two and one of eight.
      const std::vector<float> low = run_leaves(product, 0, 6, {0, 1, 0, 2, 0, 1});
      const std::vector<float> high = run_leaves(product, 6, 16, {0, 1, 0, 1, 0, 2, 0, 1, 0, 3});
      const size_t n = whole.size();
      ASSERT_EQ(low.size(), 2 * n);
      ASSERT_EQ(high.size(), 2 * n);
      std::vector<float> sum(n);
      for (size_t i = 0; i < n; ++i) sum[i] = (low[i] + (low[n + i] + high[i])) + high[n + i];
      EXPECT_TRUE(same_bits(sum, whole)) << in;
    }
  }
}

TEST_P(MatmulTest, ReadsNothingThatAnEarlierProductLeft) {
  for (const auto& [rows, in, leaves] : {std::tuple{3, 1100, 1}, {66, 67, 1}, {66, 520, 4}, {40, 67, 4}}) {
    PackedProduct product(rows, 30, in, dtype(), tree_plan(in, leaves));
    const std::vector<float> clean = product.run_part(0, rows);
    PackedProduct garbage(rows, 64, in + 16, dtype(), tree_plan(in + 16, leaves));
    garbage.x.assign(garbage.x.size(), NAN);
    run_rows(product.scratch, garbage, garbage.matrix, 0, rows);
    EXPECT_TRUE(same_bits(product.run_part(0, rows), clean)) << rows << " rows of " << in;
  }
}

TEST_P(MatmulTest, GoesPartByPartThroughALittleScratch) {
  for (const auto& [most, leaves] : {std::pair{1, 1}, {70, 1}, {2, 16}}) {  // rows reserved for
    PackedProduct product(140, 300, 64, dtype(), tree_plan(64, leaves));
    MatmulScratch little;
    little.reserve(most, 64);
    EXPECT_TRUE(same_bits(run_rows(little, product, product.matrix, 0, 140), product.run_part(0, 140)));
  }
}

TEST_P(MatmulTest, TakesNoRowsAndNoInnerSize) {
  PackedProduct none(0, 20, 64, dtype(), SumPlan::whole(64));
  EXPECT_TRUE(none.run_part(0, 0).empty());
  PackedProduct empty(66, 20, 0, dtype(), SumPlan::whole(0));
  for (const int64_t rows : {4, 66})
    for (const float v : empty.run_part(0, rows)) EXPECT_EQ(v, 0);
}

TEST_P(MatmulTest, RefusesShapesThatDoNotFit) {
  PackedProduct product(4, 20, 64, dtype(), SumPlan::whole(64));
  const Buffer memory = allocate(size_t{1} << 20);
  const auto tensor = [&](int64_t rows, int64_t cols, DType type = DType::f32) {
    return view(memory.get(), type, rows, cols);
  };
  const auto run = [&](Tensor y, Tensor x, const Matrix& w, const float* bias = nullptr) {
    matmul({}, product.scratch, y, x, w, {.bias = bias});
  };
  EXPECT_NO_THROW(run(tensor(4, 20), tensor(4, 64), product.matrix));
  EXPECT_THROW(run(tensor(4, 20), tensor(4, 63), product.matrix), std::logic_error);
  EXPECT_THROW(run(tensor(4, 21), tensor(4, 64), product.matrix), std::logic_error);
  EXPECT_THROW(run(tensor(3, 20), tensor(4, 64), product.matrix), std::logic_error);
  EXPECT_THROW(run(tensor(4, 20), tensor(4, 64, DType::i32), product.matrix), std::logic_error);
  EXPECT_THROW(run(tensor(4, 20, DType::u8), tensor(4, 64), product.matrix), std::logic_error);
  const Matrix two = make_matrix(20, 64, dtype(), {{0, 32, 64}, {0, 0}});
  const auto* bias = reinterpret_cast<const float*>(memory.get());
  EXPECT_THROW(run(tensor(8, 20), tensor(4, 64), two, bias), std::logic_error);
  MatmulScratch nothing;
  EXPECT_THROW(matmul({}, nothing, tensor(4, 20), tensor(4, 64), product.matrix), std::logic_error);
}

}  // namespace
}  // namespace lapidary::cuda
