#include <cmath>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace lapidary {
namespace {

class Packing : public testing::TestWithParam<std::tuple<DeviceChoice, DType>> {
 protected:
  DType dtype() const { return std::get<1>(GetParam()); }
  float stored(float x) const { return dtype() == DType::bf16 ? from_bf16(to_bf16(x)) : x; }

  Device device{std::get<0>(GetParam())};
  Backend& ops = device.ops;
};

std::string case_name(const testing::TestParamInfo<Packing::ParamType>& test) {
  return std::get<0>(test.param).name + "_" + name_of(std::get<1>(test.param));
}

INSTANTIATE_TEST_SUITE_P(Device, Packing,
                         testing::Combine(testing::ValuesIn(tested_devices()),
                                          testing::Values(DType::f32, DType::bf16)),
                         case_name);

std::vector<float> numbers(int64_t n) {
  std::vector<float> v(n);
  for (int64_t i = 0; i < n; ++i) v[i] = std::sin(static_cast<float>(i)) * 100;
  return v;
}

const SumPlan& uneven() {
  static const SumPlan plan{{0, 7, 40, 40, 101}, {0, 1, 0, 2}};
  return plan;
}

TEST_P(Packing, GivesRowsBackRounded) {
  const int64_t out = 37, in = 101;
  std::vector<float> w = numbers(out * in), row(in);
  Matrix m = ops.make_matrix(out, in, dtype(), uneven());
  ops.pack(m, 0, view(w.data(), DType::f32, 16, in));
  ops.pack(m, 16, view(w.data() + 16 * in, DType::f32, 21, in));
  for (int64_t r = 0; r < out; ++r) {
    ops.unpack_row(m, r, row.data());
    for (int64_t k = 0; k < in; ++k) ASSERT_EQ(row[k], stored(w[r * in + k])) << r << ", " << k;
  }
}

TEST_P(Packing, TakesStridedRowsOfBfloat16) {
  const int64_t out = 20, in = 101, stride = 130;
  const std::vector<float> source = numbers(out * stride);
  std::vector<uint16_t> half(source.size());
  for (size_t i = 0; i < half.size(); ++i) half[i] = to_bf16(source[i]);
  Matrix m = ops.make_matrix(out, in, dtype(), uneven());
  ops.pack(m, 0, view(half.data(), DType::bf16, out, stride).col_range(3, 3 + in));
  std::vector<float> row(in);
  for (int64_t r = 0; r < out; ++r) {
    ops.unpack_row(m, r, row.data());
    for (int64_t k = 0; k < in; ++k) ASSERT_EQ(row[k], from_bf16(half[r * stride + 3 + k])) << r << ", " << k;
  }
}

TEST_P(Packing, SeveralThreadsPackOneMatrix) {
  const int64_t out = 64, in = 101;
  std::vector<float> w = numbers(out * in), row(in);
  Matrix m = ops.make_matrix(out, in, dtype(), uneven());
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] { ops.pack(m, t * 16, view(w.data() + t * 16 * in, DType::f32, 16, in)); });
  for (auto& thread : threads) thread.join();
  for (int64_t r = 0; r < out; ++r) {
    ops.unpack_row(m, r, row.data());
    for (int64_t k = 0; k < in; ++k) ASSERT_EQ(row[k], stored(w[r * in + k])) << r << ", " << k;
  }
}

TEST_P(Packing, RefusesWhatDoesNotFit) {
  std::vector<float> w = numbers(64 * 101);
  const auto rows = [&](int64_t n, int64_t cols, DType type = DType::f32) {
    return view(w.data(), type, n, cols);
  };
  Matrix m = ops.make_matrix(40, 101, dtype(), uneven());
  EXPECT_THROW(ops.pack(m, 0, rows(16, 100)), std::logic_error);
  EXPECT_THROW(ops.pack(m, 8, rows(16, 101)), std::logic_error);
  EXPECT_THROW(ops.pack(m, 0, rows(15, 101)), std::logic_error);
  EXPECT_THROW(ops.pack(m, 32, rows(16, 101)), std::logic_error);
  EXPECT_THROW(ops.pack(m, 0, rows(16, 101, DType::i32)), std::logic_error);
  EXPECT_NO_THROW(ops.pack(m, 32, rows(8, 101)));
  EXPECT_THROW(ops.unpack_row(m, 40, w.data()), std::logic_error);
  EXPECT_THROW(ops.make_matrix(16, 101, DType::u8, uneven()), std::logic_error);
  EXPECT_THROW(ops.make_matrix(16, 100, dtype(), uneven()), std::logic_error);
  EXPECT_THROW(ops.make_matrix(16, 8, dtype(), {{0, 4, 8}, {1, 0}}), std::logic_error);
  EXPECT_THROW(ops.make_matrix(16, 8, dtype(), {{0, 9, 8}, {0, 1}}), std::logic_error);
  EXPECT_THROW(ops.make_matrix(16, 8, dtype(), {{0, 8}, {}}), std::logic_error);
}

}  // namespace
}  // namespace lapidary
