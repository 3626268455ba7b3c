#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels/cuda/matmul/blas.h"
#include "kernels/cuda/matmul/pack.h"
#include "tests/kernels/cuda/matmul_support.h"
#include "tests/kernels/float8_reference.h"

namespace lapidary::cuda {
namespace {

class WeightsTest : public testing::TestWithParam<DType> {
 protected:
  DType dtype() const { return GetParam(); }
  Matrix make(int64_t out, int64_t in) const { return make_matrix(out, in, dtype(), SumPlan::whole(in)); }
  /// What a weight gives back for value x of a row whose largest magnitude is `most`.
  float stored(float x, float most) const {
    if (dtype() == DType::f32) return x;
    if (dtype() == DType::bf16) return from_bf16(to_bf16(x));
    const float scale = e4m3_scale(most);
    return from_e4m3(to_e4m3(x / scale)) * scale;
  }
};

INSTANTIATE_TEST_SUITE_P(EveryWeight, WeightsTest, testing::Values(DType::f32, DType::bf16, DType::e4m3),
                         [](const auto& test) { return std::string(name_of(test.param)); });

std::vector<float> numbers(int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i)) * 3;
  return values;
}

TEST_P(WeightsTest, GiveRowsBackRounded) {
  const int64_t out = 37, in = 101, stride = 130;
  const std::vector<float> source = numbers(out * stride);
  std::vector<uint16_t> half(source.size());
  for (size_t i = 0; i < half.size(); ++i) half[i] = to_bf16(source[i]);
  for (const DType from : {DType::f32, DType::bf16}) {
    void* data = from == DType::f32 ? static_cast<void*>(const_cast<float*>(source.data())) : half.data();
    const Tensor rows = view(data, from, out, stride).col_range(3, 3 + in);
    Matrix w = make(out, in);
    pack(Stream{}, w, 16, rows.row_range(16, 37));
    pack(Stream{}, w, 0, rows.row_range(0, 16));
    std::vector<float> row(in);
    for (int64_t r = 0; r < out; ++r) {
      unpack_row({}, w, r, row.data());
      std::vector<float> given(in);
      for (int64_t k = 0; k < in; ++k)
        given[k] = from == DType::f32 ? source[r * stride + 3 + k] : from_bf16(half[r * stride + 3 + k]);
      float most = 0;
      for (const float v : given) most = std::max(most, std::abs(v));
      for (int64_t k = 0; k < in; ++k) ASSERT_EQ(row[k], stored(given[k], most)) << r << ", " << k;
    }
  }
}

TEST_P(WeightsTest, LieRowByRowPaddedWithZeros) {
  const int64_t out = 20, in = 101, size = static_cast<int64_t>(size_of(dtype()));
  const std::vector<float> w = numbers(out * in);
  Matrix m = make(out, in);
  pack(Stream{}, m, 0, view(const_cast<float*>(w.data()), DType::f32, out, in));
  ASSERT_EQ(row_bytes(m), (in * size + 15) / 16 * 16);
  ASSERT_EQ(m.bytes, static_cast<size_t>(out * row_bytes(m)));
  std::vector<std::byte> bytes(m.bytes);
  copy({}, bytes.data(), m.data.get(), bytes.size());
  synchronize({});
  for (int64_t r = 0; r < out; ++r) {
    EXPECT_EQ(row_of(m, r) - m.data.get(), r * row_bytes(m));
    for (int64_t i = in * size; i < row_bytes(m); ++i) EXPECT_EQ(bytes[r * row_bytes(m) + i], std::byte{0});
  }
}

TEST(WeightsFloat8, AreTheBytesAndScalesOfAnotherLibrary) {
  constexpr int64_t kOut = std::ssize(kFloat8Rows), kIn = std::ssize(kFloat8Rows[0].given);
  std::vector<float> given;
  for (const Float8Row& row : kFloat8Rows)
    for (const uint32_t bits : row.given) given.push_back(std::bit_cast<float>(bits));
  Matrix w = make_matrix(kOut, kIn, DType::e4m3, SumPlan::whole(kIn));
  pack(Stream{}, w, 0, view(given.data(), DType::f32, kOut, kIn));
  std::vector<uint8_t> bytes(w.bytes);
  std::vector<uint32_t> scales(kOut);
  copy({}, bytes.data(), w.data.get(), bytes.size());
  copy({}, scales.data(), w.scales.get(), scales.size() * sizeof(uint32_t));
  synchronize({});
  for (size_t r = 0; r < kFloat8Rows.size(); ++r) {
    EXPECT_EQ(scales[r], kFloat8Rows[r].scale) << "row " << r;
    for (size_t k = 0; k < kFloat8Rows[r].codes.size(); ++k)
      EXPECT_EQ(bytes[r * static_cast<size_t>(row_bytes(w)) + k], kFloat8Rows[r].codes[k]) << "row " << r;
  }
}

TEST_P(WeightsTest, ArePackedBySeveralThreads) {
  const int64_t out = 128, in = 101;
  std::vector<float> w = numbers(out * in), row(in), other(in);
  Matrix once = make(out, in), parts = make(out, in);
  pack(Stream{}, once, 0, view(w.data(), DType::f32, out, in));
  PackBuffers buffers(2, 3000);  // seven rows
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 4; ++t)
    threads.emplace_back(
        [&, t] { pack(buffers, parts, t * 32, view(w.data() + t * 32 * in, DType::f32, 32, in)); });
  for (auto& thread : threads) thread.join();
  for (int64_t r = 0; r < out; ++r) {
    unpack_row({}, once, r, row.data());
    unpack_row({}, parts, r, other.data());
    EXPECT_TRUE(same_bits(row, other)) << r;
  }
}

TEST_P(WeightsTest, RefuseWhatDoesNotFit) {
  std::vector<float> w = numbers(64 * 101);
  const auto rows = [&](int64_t n, int64_t cols, DType type = DType::f32) {
    return view(w.data(), type, n, cols);
  };
  Matrix m = make(40, 101);
  EXPECT_THROW(pack(Stream{}, m, 0, rows(16, 100)), std::logic_error);
  EXPECT_THROW(pack(Stream{}, m, 8, rows(16, 101)), std::logic_error);
  EXPECT_THROW(pack(Stream{}, m, 0, rows(15, 101)), std::logic_error);
  EXPECT_THROW(pack(Stream{}, m, 32, rows(16, 101)), std::logic_error);
  EXPECT_THROW(pack(Stream{}, m, 0, rows(16, 101, DType::i32)), std::logic_error);
  EXPECT_NO_THROW(pack(Stream{}, m, 32, rows(8, 101)));
  PackBuffers narrow(1, 100);
  EXPECT_THROW(pack(narrow, m, 0, rows(16, 101)), std::logic_error);
  EXPECT_THROW(unpack_row({}, m, 40, w.data()), std::logic_error);
  EXPECT_THROW(make_matrix(16, 101, DType::u8, SumPlan::whole(101)), std::logic_error);
  EXPECT_THROW(make_matrix(16, 100, dtype(), SumPlan::whole(101)), std::logic_error);
  EXPECT_THROW(make_matrix(16, 8, dtype(), {{0, 4, 8}, {1, 0}}), std::logic_error);
  EXPECT_THROW(make_matrix(16, 8, dtype(), {{0, 9, 8}, {0, 1}}), std::logic_error);
  EXPECT_THROW(make_matrix(16, 8, dtype(), {{0, 8}, {}}), std::logic_error);
  EXPECT_THROW(make_matrix(16, 100, dtype(), tree_plan(100, 65)), std::logic_error);
}

TEST(E4m3WeightsTest, KeepRowsOfZerosAndLetNaNsShow) {
  const int64_t in = 70;
  Product product(16, 32, in, DType::bf16, SumPlan::whole(in));
  std::fill_n(product.w.begin() + 3 * in, in, 0.0f);
  product.w[5 * in + 60] = NAN;
  const Matrix w = pack_weight(product, DType::e4m3);
  MatmulScratch scratch;
  scratch.reserve(16, in);
  const std::vector<float> y = run_rows(scratch, product, w, 0, 16);
  for (int64_t r = 0; r < 16; ++r) {
    EXPECT_EQ(y[r * 32 + 3], 0);
    EXPECT_TRUE(std::isnan(y[r * 32 + 5]));
    EXPECT_FALSE(std::isnan(y[r * 32 + 4]));
  }
}

TEST(E4m3WeightsTest, TakeTheScaleOfTheWholeRow) {
  const int64_t in = 70, half = 32;
  const std::vector<float> w = numbers(16 * in);
  std::vector<float> largest(16), row(in), part(half);
  for (int64_t r = 0; r < 16; ++r)
    for (int64_t k = 0; k < in; ++k) largest[r] = std::max(largest[r], std::abs(w[r * in + k]));
  Matrix whole = make_matrix(16, in, DType::e4m3, SumPlan::whole(in));
  Matrix cut = make_matrix(16, half, DType::e4m3, SumPlan::whole(half));
  const Tensor rows = view(const_cast<float*>(w.data()), DType::f32, 16, in);
  PackBuffers buffers(1, 600);  // two rows
  pack(buffers, whole, 0, rows);
  for (float& v : largest) v *= 4;  // so that it is not what the columns say
  pack(buffers, cut, 0, rows.col_range(0, half), largest.data());
  for (int64_t r = 0; r < 16; ++r) {
    unpack_row({}, whole, r, row.data());
    unpack_row({}, cut, r, part.data());
    for (int64_t k = 0; k < half; ++k) {
      const float scale = e4m3_scale(largest[r]);
      EXPECT_EQ(part[k], from_e4m3(to_e4m3(w[r * in + k] / scale)) * scale);
      // Four times the scale rounds like the scale itself, but near zero.
      if (std::abs(row[k]) > scale * 0x1p-6f) {
        EXPECT_EQ(part[k], row[k]);
      }
    }
  }
}

TEST(MatmulModeTest, NotDeterministicHasOneOutputAndTheLibrarysProducts) {
  const MatmulMode fast{.deterministic = false};
  Product product(70, 33, 67, DType::bf16, {{0, 30, 67}, {0, 0}});
  const Matrix w = pack_weight(product, DType::bf16, fast);
  EXPECT_EQ(w.sums.outputs(), 1);
  product.sums = w.sums;
  Blas blas;
  MatmulScratch scratch(fast, &blas);
  scratch.reserve(70, 67);
  std::vector<float> bias(33, 0.3f);  // no bf16 number
  for (const int64_t rows : {64, 70}) {
    product.rows = rows;
    expect_close(product, run_rows(scratch, product, w, 0, rows, {}, &bias), bias.data());
    const Layout layout{DType::bf16, DType::f32, 8, 5, 0, 0};
    expect_close(product, run_rows(scratch, product, w, 0, rows, layout));
  }
}

}  // namespace
}  // namespace lapidary::cuda
