#include "kernels/cuda/matmul/loader.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

#include "kernels/cuda/matmul/dummy_rows.h"
#include "kernels/cuda/matmul/pack.h"
#include "tests/support/print.h"

namespace lapidary::cuda {
namespace {

/// A float16 with so many bits of a mantissa that none is lost on the way from a float.
uint16_t to_f16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits >> 16 & 0x8000u) | (((bits >> 13) - (112u << 10)) & 0x7fffu));
}

/// Numbers stored as they would be in a file, and what they are.
struct Stored {
  Stored(DType dtype_, int64_t rows_, int64_t cols_) : dtype(dtype_), rows(rows_), cols(cols_) {
    for (int64_t i = 0; i < rows * cols; ++i) {
      float value = std::sin(static_cast<float>(i)) * 3;
      value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffffe000u);  // as float16 has it
      if (std::abs(value) < 0x1p-10f) value = 0x1p-10f;
      if (dtype == DType::bf16) value = from_bf16(to_bf16(value));
      values.push_back(value);
      const uint16_t half = dtype == DType::f16 ? to_f16(value) : to_bf16(value);
      const auto* from = dtype == DType::f32 ? reinterpret_cast<const std::byte*>(&value)
                                             : reinterpret_cast<const std::byte*>(&half);
      bytes.insert(bytes.end(), from, from + size_of(dtype));
    }
  }
  /// Rows [begin, end) as a file would be read.
  std::function<void(std::byte*)> reader(int64_t begin, int64_t end) const {
    const size_t row = static_cast<size_t>(cols) * size_of(dtype);
    return [this, begin, end, row](std::byte* to) {
      std::memcpy(to, bytes.data() + static_cast<size_t>(begin) * row,
                  static_cast<size_t>(end - begin) * row);
    };
  }

  DType dtype;
  int64_t rows, cols;
  std::vector<float> values;
  std::vector<std::byte> bytes;
};

void expect_same_rows(const Matrix& a, const Matrix& b) {
  std::vector<float> row(static_cast<size_t>(a.in)), other(row.size());
  for (int64_t r = 0; r < a.out; ++r) {
    unpack_row({}, a, r, row.data());
    unpack_row({}, b, r, other.data());
    ASSERT_EQ(std::memcmp(row.data(), other.data(), row.size() * sizeof(float)), 0) << "row " << r;
  }
}

void expect_same_scales(const Matrix& a, const Matrix& b) {
  std::vector<float> one(static_cast<size_t>(a.out)), other(one.size());
  copy({}, one.data(), a.scales.get(), one.size() * sizeof(float));
  copy({}, other.data(), b.scales.get(), other.size() * sizeof(float));
  synchronize({});
  EXPECT_EQ(one, other);
}

class LoaderTest : public testing::TestWithParam<std::tuple<DType, DType>> {
 protected:
  DType stored() const { return std::get<0>(GetParam()); }
  DType held() const { return std::get<1>(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(FromTo, LoaderTest,
                         testing::Combine(testing::Values(DType::f32, DType::f16, DType::bf16),
                                          testing::Values(DType::f32, DType::bf16, DType::e4m3)),
                         [](const auto& test) {
                           return std::string(name_of(std::get<0>(test.param))) + "_" +
                                  name_of(std::get<1>(test.param));
                         });

TEST_P(LoaderTest, BringsWhatPackWouldByManyThreadsThroughAFewSmallBuffers) {
  const int64_t out = 61, in = 101;
  const Stored file(stored(), out, in);
  Matrix packed = make_matrix(out, in, held(), SumPlan::whole(in));
  pack(Stream{}, packed, 0, view(const_cast<float*>(file.values.data()), DType::f32, out, in));
  Matrix loaded = make_matrix(out, in, held(), SumPlan::whole(in));
  Loader loader(0, 3, 1000);
  const WeightRows rows = loader.rows_of(loaded);
  const int64_t step = loader.mlp_chunk_rows(in, stored());
  ASSERT_LE(step, 4);
  std::atomic<int64_t> next{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int64_t row = next.fetch_add(step); row < out; row = next.fetch_add(step)) {
        const int64_t end = std::min(row + step, out);
        loader.load(rows.row_range(row, end), stored(), file.reader(row, end));
      }
    });
  for (auto& thread : threads) thread.join();
  loader.finish();
  EXPECT_LE(loader.pinned_bytes(), 3000u);
  expect_same_rows(loaded, packed);
}

TEST_P(LoaderTest, ColumnsOfARowHaveItsScaleAndItsRoundingToBfloat16) {
  if (held() != DType::e4m3) return;
  const int64_t out = 21;
  // Columns of any place, and those that are read and written in runs.
  for (const auto& [in, begin, end] : {std::array<int64_t, 3>{101, 13, 60}, {160, 48, 112}, {160, 48, 117}}) {
    Stored file(stored(), out, in);
    for (int64_t r = 0; r < out; ++r) {  // each row has its largest number elsewhere, mostly outside
      const int64_t at = r * in + (r * 41 + 7) % in;
      const float largest = 5 + static_cast<float>(r);
      const uint16_t half = stored() == DType::f16 ? to_f16(largest) : to_bf16(largest);
      const size_t size = size_of(stored());
      std::memcpy(file.bytes.data() + static_cast<size_t>(at) * size,
                  stored() == DType::f32 ? static_cast<const void*>(&largest) : &half, size);
      file.values[static_cast<size_t>(at)] = largest;
    }
    for (const DType rounded : {DType::f32, DType::bf16}) {
      std::vector<float> values = file.values, most(static_cast<size_t>(out));
      for (size_t i = 0; i < values.size(); ++i) {
        if (rounded == DType::bf16) values[i] = from_bf16(to_bf16(values[i]));
        float& largest = most[i / static_cast<size_t>(in)];
        largest = std::max(largest, std::abs(values[i]));
      }
      Matrix packed = make_matrix(out, end - begin, held(), SumPlan::whole(end - begin));
      PackBuffers buffers(1, 1000);
      pack(buffers, packed, 0, view(values.data(), DType::f32, out, in).col_range(begin, end), most.data());
      Matrix loaded = make_matrix(out, end - begin, held(), SumPlan::whole(end - begin));
      Loader loader(0, 2, 2000);
      WeightRows rows = loader.rows_of(loaded);
      rows.rounded = rounded;
      rows.whole = in;
      rows.skip = begin;
      const int64_t step = loader.mlp_chunk_rows(rows.brought(), stored());
      for (int64_t row = 0; row < out; row += step) {
        const int64_t last = std::min(row + step, out);
        loader.load(rows.row_range(row, last), stored(), file.reader(row, last));
      }
      loader.finish();
      expect_same_rows(loaded, packed);
      expect_same_scales(loaded, packed);
    }
  }
}

TEST(Loader, TakesARowThatIsLongerThanItsBuffers) {
  const Stored file(DType::f32, 3, 700);
  Matrix w = make_matrix(3, 700, DType::f32, SumPlan::whole(700));
  Loader loader(0, 2, 100);
  EXPECT_EQ(loader.mlp_chunk_rows(700, DType::f32), 1);
  for (int64_t r = 0; r < 3; ++r)
    loader.load(loader.rows_of(w).row_range(r, r + 1), DType::f32, file.reader(r, r + 1));
  loader.finish();
  std::vector<float> row(700);
  unpack_row({}, w, 2, row.data());
  EXPECT_TRUE(std::equal(row.begin(), row.end(), file.values.begin() + 2 * 700));
}

TEST(Loader, WhatAReaderThrowsComesThroughAndCostsNoBuffer) {
  const Stored file(DType::bf16, 8, 16);
  Matrix w = make_matrix(8, 16, DType::bf16, SumPlan::whole(16));
  Loader loader(0, 2, 1000);
  for (int i = 0; i < 5; ++i)
    EXPECT_THROW(loader.load(loader.rows_of(w), DType::bf16,
                             [](std::byte*) { throw std::runtime_error("the disk is gone"); }),
                 std::runtime_error);
  loader.load(loader.rows_of(w), DType::bf16, file.reader(0, 8));
  loader.finish();
  std::vector<float> row(16);
  unpack_row({}, w, 7, row.data());
  EXPECT_TRUE(std::equal(row.begin(), row.end(), file.values.begin() + 7 * 16));
  EXPECT_THROW(loader.load(loader.rows_of(w), DType::i32, file.reader(0, 8)), std::logic_error);
}

TEST_P(LoaderTest, MakesTheNumbersThatTheHostMakes) {
  if (stored() != DType::f32) return;  // nothing is stored
  const int64_t out = 37, in = 101, first_row = 1000, first_col = 77;
  for (const DummyValues made : {DummyValues{12345, 0x1p-13f, 0, 8}, DummyValues{99, 0x1p-7f, 1, 3}}) {
    std::vector<float> numbers;
    for (int64_t r = 0; r < out; ++r)
      for (int64_t c = 0; c < in; ++c)
        numbers.push_back(
            number_at(made, row_key(made, first_row + r), static_cast<uint32_t>(first_col + c)));
    Matrix packed = make_matrix(out, in, held(), SumPlan::whole(in));
    pack(Stream{}, packed, 0, view(numbers.data(), DType::f32, out, in));
    Matrix made_there = make_matrix(out, in, held(), SumPlan::whole(in));
    Loader loader(0, 2, 1000);
    loader.make(loader.rows_of(made_there), made, first_row, first_col);
    loader.finish();
    expect_same_rows(made_there, packed);
  }
}

}  // namespace
}  // namespace lapidary::cuda
