#include <stdexcept>
#include <tuple>

#include "tests/kernels/matmul_cases.h"

namespace lapidary {
namespace {

class Matmul : public testing::TestWithParam<std::tuple<DeviceChoice, DType>> {
 protected:
  const DeviceChoice& choice() const { return std::get<0>(GetParam()); }
  DType dtype() const { return std::get<1>(GetParam()); }
  bool slow() const { return choice().slow; }
};

std::string case_name(const testing::TestParamInfo<Matmul::ParamType>& info) {
  return std::get<0>(info.param).name + "_" + name_of(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Device, Matmul,
                         testing::Combine(testing::ValuesIn(tested_devices()),
                                          testing::Values(DType::f32, DType::bf16)),
                         case_name);

// A sum of n terms in float32, in any order, is off by at most n·2^-24 of the sum of magnitudes; twice that
// where products are rounded by themselves. Terms below the normal range may count as zero.
double bound(int64_t n, double size) {
  return static_cast<double>(2 * n + 8) * 0x1p-24 * size + static_cast<double>(n) * 0x1p-126;
}

void expect_close(const Product& product, const std::vector<float>& y) {
  int64_t wrong = 0;
  product.for_each([&](int64_t at, double sum, double size) {
    if (std::abs(static_cast<double>(y[at]) - sum) <= bound(product.in, size)) return;
    if (++wrong <= 3) ADD_FAILURE() << "element " << at << ": " << y[at] << " for " << sum;
  });
  EXPECT_EQ(wrong, 0) << product.rows << " x " << product.out << " x " << product.in << " leaves "
                      << product.sums.leaves();
}

TEST_P(Matmul, IsTheProductAtAwkwardSizes) {
  for (const int64_t rows : {1, 2, 5, 7, 16, 17, 31, 33, 70}) {
    for (const int64_t out : {1, 16, 40, 129}) {
      for (const int64_t in : {1, 33, 300}) {
        if (slow() && rows * out * in > 33 * 129 * 300) continue;
        const Product product(rows, out, in, dtype(), SumPlan::whole(in));
        Engine engine(choice(), 2, rows, in);
        expect_close(product, product.run(engine));
      }
    }
  }
}

TEST_P(Matmul, IsTheProductOverSeveralChunksOfRowsAndSlabs) {
  const int64_t chunk = choice().chunk_rows;
  for (const int64_t rows : {chunk + 1, 3 * chunk - 7, 5 * chunk + 3}) {
    const Product product(rows, 50, slow() ? 20 : 70, dtype(), SumPlan::whole(slow() ? 20 : 70));
    Engine engine(choice(), 3, rows, product.in);
    expect_close(product, product.run(engine));
  }
}

TEST_P(Matmul, IsTheProductWithLessScratchThanRows) {
  const Product product(97, 40, 70, dtype(), SumPlan::whole(70));
  Engine engine(choice(), 2, 1, product.in);
  expect_close(product, product.run(engine));
}

TEST_P(Matmul, AddsLeavesAsThePlanSays) {
  const SumPlan two_outputs{{0, 11, 40, 41, 80, 100, 129}, {0, 1, 0, 2, 0, 1}};
  const SumPlan untouched{{0, 50, 50, 129}, {0, 0, 0}};  // with an empty leaf
  for (const SumPlan& plan : {tree_plan(129, 16), tree_plan(129, 5), two_outputs, untouched}) {
    for (const int64_t rows : {1, 37}) {
      const Product product(rows, 70, 129, dtype(), plan);
      Engine engine(choice(), 2, rows, product.in);
      expect_close(product, product.run(engine));
    }
  }
}

TEST_P(Matmul, IsExactOnWholeNumbers) {
  for (const SumPlan& plan : {SumPlan::whole(600), tree_plan(600, 16), tree_plan(600, 3)}) {
    const Product product(slow() ? 20 : 70, 33, 600, dtype(), plan, true);
    Engine engine(choice(), 2, product.rows, product.in);
    const std::vector<float> y = product.run(engine);
    int64_t wrong = 0;
    product.for_each([&](int64_t at, double sum, double) { wrong += static_cast<double>(y[at]) != sum; });
    EXPECT_EQ(wrong, 0);
  }
}

TEST_P(Matmul, GivesARowTheSameBitsInAnyBatchOnAnyThreads) {
  for (const int leaves : {1, 16}) {
    const int64_t rows = slow() ? 70 : 2 * choice().chunk_rows + 9;
    const Product product(rows, 100, 700, dtype(), tree_plan(700, leaves));
    Engine engine(choice(), 1, rows, product.in);
    const std::vector<float> whole = product.run(engine);
    for (const int threads : {2, 3}) {
      Engine other(choice(), threads, rows, product.in);
      EXPECT_TRUE(same_bits(product.run(other), whole)) << threads << " threads";
    }
    for (const auto& [begin, end] :
         {std::pair<int64_t, int64_t>{0, 1}, {36, 37}, {rows - 1, rows}, {3, 40}, {20, 36}}) {
      const std::vector<float> part = product.run(engine, begin, end);
      const std::vector<float> expected(whole.begin() + begin * product.out,
                                        whole.begin() + end * product.out);
      EXPECT_TRUE(same_bits(part, expected)) << "rows " << begin << " to " << end;
    }
  }
}

TEST_P(Matmul, GivesAColumnTheSameBitsInAnyPartOfTheWeight) {
  const Product product(9, 100, 200, dtype(), tree_plan(200, 4));
  Engine engine(choice(), 2, product.rows, product.in);
  const std::vector<float> whole = product.run(engine);
  Product part = product;
  part.out = 52;
  part.w.assign(product.w.begin() + 48 * product.in, product.w.end());
  const std::vector<float> y = part.run(engine);
  for (int64_t r = 0; r < product.rows; ++r) {
    EXPECT_EQ(std::memcmp(&y[r * 52], &whole[r * 100 + 48], 52 * sizeof(float)), 0) << "row " << r;
  }
}

/// Columns [begin, end) of the inner dimension, as a rank of its own would hold them.
Product slice(const Product& whole, int first_leaf, int last_leaf, SumPlan plan) {
  const int64_t begin = whole.sums.cuts[first_leaf], end = whole.sums.cuts[last_leaf];
  Product part = whole;
  part.in = end - begin;
  part.sums = std::move(plan);
  part.sums.cuts.clear();
  for (int j = first_leaf; j <= last_leaf; ++j) part.sums.cuts.push_back(whole.sums.cuts[j] - begin);
  const auto cut = [&](const std::vector<float>& from, int64_t rows) {
    std::vector<float> to;
    for (int64_t r = 0; r < rows; ++r) {
      to.insert(to.end(), from.begin() + r * whole.in + begin, from.begin() + r * whole.in + end);
    }
    return to;
  };
  part.w = cut(whole.w, whole.out);
  part.x = cut(whole.x, whole.rows);
  return part;
}

TEST_P(Matmul, SubtreesAddedLaterGiveTheBitsOfTheWholeTree) {
  const Product product(19, 40, 16 * 21 + 5, dtype(), tree_plan(16 * 21 + 5, 16));
  Engine engine(choice(), 2, product.rows, product.in);
  const std::vector<float> whole = product.run(engine);
  // Leaves 0-5 make a subtree of four and one of two; 6-15 one of two and one of eight.
  const std::vector<float> low = slice(product, 0, 6, {{}, {0, 1, 0, 2, 0, 1}}).run(engine);
  const std::vector<float> high = slice(product, 6, 16, {{}, {0, 1, 0, 1, 0, 2, 0, 1, 0, 3}}).run(engine);
  const size_t n = whole.size();
  ASSERT_EQ(low.size(), 2 * n);
  ASSERT_EQ(high.size(), 2 * n);
  std::vector<float> sum(n);
  for (size_t i = 0; i < n; ++i) sum[i] = (low[i] + (low[n + i] + high[i])) + high[n + i];
  EXPECT_TRUE(same_bits(sum, whole));
}

TEST_P(Matmul, AddsABiasAndTakesViews) {
  const Product product(21, 37, 64, dtype(), SumPlan::whole(64));
  Engine engine(choice(), 2, product.rows, product.in);
  const std::vector<float> plain = product.run(engine);
  const Floats wide_x(static_cast<size_t>(product.rows * 100), NAN);
  const Floats wide_y(static_cast<size_t>(product.rows * 90), -7), bias(static_cast<size_t>(product.out));
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i) / 3;
  for (int64_t r = 0; r < product.rows; ++r) {
    std::memcpy(&wide_x[r * 100 + 10], &product.x[r * 64], 64 * sizeof(float));
  }
  const Tensor x = view(wide_x.data(), DType::f32, product.rows, 100).col_range(10, 74);
  const Tensor y = view(wide_y.data(), DType::f32, product.rows, 90).col_range(5, 42);
  const Matrix w = product.packed(engine.ops);
  engine.ops.matmul(y, x, w, {.bias = bias.data()});
  engine.ops.synchronize();
  for (int64_t r = 0; r < product.rows; ++r) {
    for (int64_t c = 0; c < 90; ++c) {
      const bool inside = c >= 5 && c < 42;
      ASSERT_EQ(wide_y[r * 90 + c], inside ? plain[r * 37 + c - 5] + bias[c - 5] : -7.0f) << r << ", " << c;
    }
  }
}

TEST_P(Matmul, EndsAsTheSameOperationsOneByOne) {
  for (const int64_t in : {64, 2100}) {
    for (const int64_t rows : {3, 70}) {
      if (slow() && in * rows > 2100 * 3) continue;
      const Product product(rows, 37, in, dtype(), SumPlan::whole(in));
      Engine engine(choice(), 2, rows, in);
      Backend& ops = engine.ops;
      const Matrix w = product.packed(ops);
      const Floats x(product.x), bias(std::vector<float>(product.w.begin(), product.w.begin() + 37));
      const auto size = static_cast<size_t>(rows * 37);
      const Floats plain(size), biased(size), gelu(size), added(size, 0.3f), apart(size, 0.3f);
      const auto y = [&](const Floats& f) { return view(f.data(), DType::f32, rows, 37); };
      const Tensor given = view(x.data(), DType::f32, rows, in);
      ops.matmul(y(plain), given, w);
      ops.matmul(y(biased), given, w, {.bias = bias.data()});
      ops.matmul(y(gelu), given, w, {.bias = bias.data(), .gelu = true});
      ops.matmul(y(added), given, w, {.bias = bias.data(), .add = true});
      ops.add(y(apart), y(biased));
      ops.synchronize();
      for (size_t i = 0; i < size; ++i) ASSERT_EQ(biased[i], plain[i] + bias[i % 37]);
      EXPECT_TRUE(same_bits(added.values(), apart.values())) << rows << " rows of " << in;
      const std::vector<float> once = plain.values();
      ops.gelu(y(biased));
      ops.matmul(y(plain), given, w, {.add = true});
      ops.synchronize();
      EXPECT_TRUE(same_bits(gelu.values(), biased.values())) << rows << " rows of " << in;
      for (size_t i = 0; i < size; ++i) ASSERT_EQ(plain[i], 2 * once[i]);
    }
  }
}

/// An e4m3 weight, x of bf16 numbers: the product of what the weight holds.
TEST(MatmulFloat8, IsTheProductOfWhatTheWeightHolds) {
  for (const DeviceChoice& choice : tested_devices()) {
    for (const SumPlan& plan : {SumPlan::whole(129), tree_plan(129, 5)}) {
      for (const int64_t rows : {1, 9, 70}) {
        Product product(rows, 40, 129, DType::bf16, plan);
        Engine engine(choice, 2, rows, product.in);
        Backend& ops = engine.ops;
        Matrix w = ops.make_matrix(40, 129, DType::e4m3, plan);
        ops.pack(w, 0, view(product.w.data(), DType::f32, 40, 129));
        for (int64_t r = 0; r < 40; ++r) {
          const std::vector<float> given(product.w.begin() + r * 129, product.w.begin() + (r + 1) * 129);
          ops.unpack_row(w, r, &product.w[r * 129]);
          for (int64_t k = 0; k < 129; ++k)  // four bits of mantissa, to nearest
            EXPECT_NEAR(product.w[r * 129 + k], given[k], std::max(0x1p-4f * std::abs(given[k]), 0x1p-14f));
        }
        const Floats x(product.x), bias(40, 0.75f), y(static_cast<size_t>(rows * 40), 0.5f);
        const Tensor to = view(y.data(), DType::f32, rows, 40);
        ops.matmul(to, view(x.data(), DType::f32, rows, 129), w, {.bias = bias.data(), .add = true});
        ops.synchronize();
        std::vector<float> sums = y.values();
        for (float& v : sums) v -= 1.25f;  // what was added, off by a rounding more
        product.for_each([&](int64_t at, double sum, double size) {
          EXPECT_NEAR(sums[at], sum, bound(129, size + 2)) << choice.name;
        });
      }
    }
  }
}

TEST(MatmulFloat8, PartsOfARowTakeItsScale) {
  for (const DeviceChoice& choice : tested_devices()) {
    const Product product(1, 16, 64, DType::bf16, SumPlan::whole(64));
    Engine engine(choice, 1, 1, 64);
    Matrix w = engine.ops.make_matrix(16, 64, DType::e4m3, SumPlan::whole(64));
    const std::vector<float> largest(16, 1000.0f);
    engine.ops.pack(w, 0, view(const_cast<float*>(product.w.data()), DType::f32, 16, 64), largest.data());
    std::vector<float> row(64);
    for (int64_t r = 0; r < 16; ++r) {
      engine.ops.unpack_row(w, r, row.data());
      for (int64_t k = 0; k < 64; ++k)
        EXPECT_EQ(row[k], from_e4m3(to_e4m3(product.w[r * 64 + k] / 4)) * 4) << choice.name;
    }
  }
}

/// Rows of gate [n, in] and up [n, in] as a backend's gated weight.
Matrix pack_gated(Backend& ops, const Product& both, int64_t n) {
  const int64_t run = ops.gate_up_interleave() == 0 ? n : ops.gate_up_interleave(),
                groups = (n + run - 1) / run;
  std::vector<float> rows(static_cast<size_t>(groups * 2 * run * both.in));
  for (int64_t r = 0; r < 2 * n; ++r) {
    const int64_t half = r / n, i = r % n, to = (i / run * 2 + half) * run + i % run;
    std::copy_n(&both.w[r * both.in], both.in, &rows[to * both.in]);
  }
  Matrix w = ops.make_matrix(groups * 2 * run, both.in, both.dtype, SumPlan::whole(both.in));
  ops.pack(w, 0, view(rows.data(), DType::f32, w.out, both.in));
  return w;
}

TEST_P(Matmul, GatesAsTheSameOperationsOneByOne) {
  for (const int64_t n : {5, 24, 75}) {
    for (const int64_t in : {64, 67, 2100}) {
      for (const int64_t rows : {2, 20, 70}) {
        if (slow() && n * in * rows > 24 * 2100 * 2) continue;
        const Product both(rows, 2 * n, in, dtype(), SumPlan::whole(in));  // gate, then up
        Engine engine(choice(), 2, rows, in);
        Backend& ops = engine.ops;
        const Matrix plain = both.packed(ops), gated = pack_gated(ops, both, n);
        const Floats x(both.x), halves(static_cast<size_t>(rows * 2 * n));
        const Floats y(static_cast<size_t>(rows * n), NAN), apart(y),
            room(static_cast<size_t>(rows * gated.out));
        const Tensor given = view(x.data(), DType::f32, rows, in);
        ops.matmul_geglu(view(y.data(), DType::f32, rows, n), given, gated,
                         view(room.data(), DType::f32, rows, gated.out));
        ops.matmul(view(halves.data(), DType::f32, rows, 2 * n), given, plain);
        ops.gelu_mul(view(apart.data(), DType::f32, rows, n), view(halves.data(), DType::f32, rows, 2 * n));
        ops.synchronize();
        EXPECT_TRUE(same_bits(y.values(), apart.values())) << rows << " x " << n << " x " << in;
      }
    }
  }
}

TEST(MatmulOperandTest, IsRoundedForABfloat16Weight) {
  for (const DeviceChoice& choice : tested_devices()) {
    Product product(3, 20, 50, DType::bf16, SumPlan::whole(50));
    Engine engine(choice, 1, product.rows, product.in);
    const std::vector<float> rounded = product.run(engine);
    for (float& v : product.x) v = std::nextafter(v, 2 * v);
    EXPECT_TRUE(same_bits(product.run(engine), rounded)) << choice.name;
  }
}

TEST_P(Matmul, TakesNoRowsAndNoInnerSize) {
  Engine engine(choice(), 2, 4, 64);
  const Product none(0, 20, 64, dtype(), SumPlan::whole(64));
  EXPECT_TRUE(none.run(engine).empty());
  const Product empty(4, 20, 0, dtype(), SumPlan::whole(0));
  for (float v : empty.run(engine)) EXPECT_EQ(v, 0);
}

TEST_P(Matmul, RefusesShapesThatDoNotFit) {
  Engine engine(choice(), 2, 8, 64);
  const Product product(4, 20, 64, dtype(), tree_plan(64, 2));
  const Matrix w = product.packed(engine.ops);
  const Floats memory(8 * 4096), given(4 * 64);
  const auto tensor = [&](int64_t rows, int64_t cols, DType type = DType::f32) {
    return view(memory.data(), type, rows, cols);
  };
  const auto x = [&](int64_t cols, DType type = DType::f32) { return view(given.data(), type, 4, cols); };
  EXPECT_NO_THROW(engine.ops.matmul(tensor(4, 20), x(64), w));
  EXPECT_THROW(engine.ops.matmul(tensor(4, 20), x(63), w), std::logic_error);
  EXPECT_THROW(engine.ops.matmul(tensor(4, 21), x(64), w), std::logic_error);
  EXPECT_THROW(engine.ops.matmul(tensor(3, 20), x(64), w), std::logic_error);
  EXPECT_THROW(engine.ops.matmul(tensor(4, 20), x(64, DType::i32), w), std::logic_error);
  EXPECT_THROW(engine.ops.matmul(tensor(4, 20, DType::i32), x(64), w), std::logic_error);

  const Matrix two = engine.ops.make_matrix(20, 64, dtype(), {{0, 32, 64}, {0, 0}});
  EXPECT_THROW(engine.ops.matmul(tensor(8, 20), x(64), two, {.bias = memory.data()}), std::logic_error);
  EXPECT_THROW(engine.ops.matmul(tensor(8, 20), x(64), two, {.gelu = true}), std::logic_error);
  EXPECT_THROW(engine.ops.matmul(tensor(8, 20), x(64), two, {.add = true}), std::logic_error);
  EXPECT_THROW(engine.ops.matmul(tensor(4, 20), x(64), w, {.gelu = true, .add = true}), std::logic_error);
  EXPECT_THROW(engine.ops.matmul_geglu(tensor(4, 11), x(64), w, tensor(4, 20)), std::logic_error);
  EXPECT_THROW(engine.ops.matmul_geglu(tensor(4, 10), x(64), w, tensor(4, 19)), std::logic_error);
}

}  // namespace
}  // namespace lapidary
