#include "kernels/cpu/pack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

#include "kernels/cpu/memory.h"
#include "tests/amx_emulation/emulated_isa.h"

namespace lapidary::cpu {
namespace {

class PackTest : public testing::TestWithParam<std::tuple<const Isa*, DType>> {
 protected:
  const Isa& isa() const { return *std::get<0>(GetParam()); }
  DType dtype() const { return std::get<1>(GetParam()); }
  float stored(float x) const { return dtype() == DType::bf16 ? from_bf16(to_bf16(x)) : x; }
};

std::string case_name(const testing::TestParamInfo<PackTest::ParamType>& test) {
  return test_name(*std::get<0>(test.param)) + "_" + name_of(std::get<1>(test.param));
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, PackTest,
                         testing::Combine(testing::ValuesIn(tested_isas()),
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

TEST_P(PackTest, GivesRowsBackRounded) {
  const int64_t out = 37, in = 101;
  std::vector<float> w = numbers(out * in), row(in);
  Matrix m = make_matrix(isa(), out, in, dtype(), uneven());
  pack(isa(), m, 0, view(w.data(), DType::f32, 16, in));
  pack(isa(), m, 16, view(w.data() + 16 * in, DType::f32, 21, in));
  for (int64_t r = 0; r < out; ++r) {
    unpack_row(isa(), m, r, row.data());
    for (int64_t k = 0; k < in; ++k) ASSERT_EQ(row[k], stored(w[r * in + k])) << r << ", " << k;
  }
}

TEST_P(PackTest, TakesStridedRowsOfBfloat16) {
  const int64_t out = 20, in = 101, stride = 130;
  const std::vector<float> source = numbers(out * stride);
  std::vector<uint16_t> half(source.size());
  for (size_t i = 0; i < half.size(); ++i) half[i] = to_bf16(source[i]);
  Matrix m = make_matrix(isa(), out, in, dtype(), uneven());
  pack(isa(), m, 0, view(half.data(), DType::bf16, out, stride).col_range(3, 3 + in));
  std::vector<float> row(in);
  for (int64_t r = 0; r < out; ++r) {
    unpack_row(isa(), m, r, row.data());
    for (int64_t k = 0; k < in; ++k) ASSERT_EQ(row[k], from_bf16(half[r * stride + 3 + k])) << r << ", " << k;
  }
}

TEST_P(PackTest, LaysPanelsOutAsTheKernelsReadThem) {
  const int64_t out = 20, in = 101;
  const std::vector<float> w = numbers(out * in);
  Matrix m = make_matrix(isa(), out, in, dtype(), uneven());
  pack(isa(), m, 0, view(const_cast<float*>(w.data()), DType::f32, out, in));
  const int64_t step = dtype() == DType::bf16 ? isa().k_step : 1;
  int64_t inner = 0;
  std::vector<int64_t> column;  // of w at each step of a panel; -1: padding
  for (int j = 0; j < uneven().leaves(); ++j) {
    for (int64_t k = uneven().cuts[j]; k < uneven().cuts[j + 1]; ++k) column.push_back(k);
    while (column.size() % step != 0) column.push_back(-1);
  }
  inner = static_cast<int64_t>(column.size());
  ASSERT_EQ(m.bytes, 2 * 16 * inner * size_of(dtype()));
  for (int64_t panel = 0; panel < 2; ++panel) {
    for (int64_t k = 0; k < inner; ++k) {
      for (int64_t r = 0; r < 16; ++r) {
        const bool there = column[k] >= 0 && panel * 16 + r < out;
        const float expected = there ? stored(w[(panel * 16 + r) * in + column[k]]) : 0;
        const int64_t base = panel * 16 * inner;
        const float actual = dtype() == DType::f32
                                 ? reinterpret_cast<const float*>(m.data.get())[base + k * 16 + r]
                                 : from_bf16(reinterpret_cast<const uint16_t*>(
                                       m.data.get())[base + k / 2 * 32 + r * 2 + k % 2]);
        ASSERT_EQ(actual, expected) << panel << ", " << k << ", " << r;
      }
    }
  }
}

TEST_P(PackTest, SeveralThreadsPackOneMatrix) {
  const int64_t out = 64, in = 101;
  std::vector<float> w = numbers(out * in);
  Matrix once = make_matrix(isa(), out, in, dtype(), uneven()),
         parts = make_matrix(isa(), out, in, dtype(), uneven());
  pack(isa(), once, 0, view(w.data(), DType::f32, out, in));
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 4; ++t) {
    threads.emplace_back(
        [&, t] { pack(isa(), parts, t * 16, view(w.data() + t * 16 * in, DType::f32, 16, in)); });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::memcmp(once.data.get(), parts.data.get(), once.bytes), 0);
}

TEST_P(PackTest, RefusesWhatDoesNotFit) {
  std::vector<float> w = numbers(64 * 101);
  const auto rows = [&](int64_t n, int64_t cols, DType type = DType::f32) {
    return view(w.data(), type, n, cols);
  };
  Matrix m = make_matrix(isa(), 40, 101, dtype(), uneven());
  EXPECT_THROW(pack(isa(), m, 0, rows(16, 100)), std::logic_error);
  EXPECT_THROW(pack(isa(), m, 8, rows(16, 101)), std::logic_error);
  EXPECT_THROW(pack(isa(), m, 0, rows(15, 101)), std::logic_error);
  EXPECT_THROW(pack(isa(), m, 32, rows(16, 101)), std::logic_error);
  EXPECT_THROW(pack(isa(), m, 0, rows(16, 101, DType::i32)), std::logic_error);
  EXPECT_NO_THROW(pack(isa(), m, 32, rows(8, 101)));
  EXPECT_THROW(unpack_row(isa(), m, 40, w.data()), std::logic_error);
  EXPECT_THROW(make_matrix(isa(), 16, 101, DType::u8, uneven()), std::logic_error);
  EXPECT_THROW(make_matrix(isa(), 16, 100, dtype(), uneven()), std::logic_error);
  EXPECT_THROW(make_matrix(isa(), 16, 8, dtype(), {{0, 4, 8}, {1, 0}}), std::logic_error);
  EXPECT_THROW(make_matrix(isa(), 16, 8, dtype(), {{0, 9, 8}, {0, 1}}), std::logic_error);
  EXPECT_THROW(make_matrix(isa(), 16, 8, dtype(), {{0, 8}, {}}), std::logic_error);
}

TEST(MemoryTest, IsZeroAndAlignedAtEverySize) {
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{100}, (size_t{2} << 20) - 1, size_t{2} << 20, size_t{5000001}}) {
    const Buffer buffer = allocate(bytes);
    ASSERT_NE(buffer, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.get()) % 64, 0u);
    size_t others = 0;
    for (size_t i = 0; i < bytes; ++i) others += buffer[i] != std::byte{0};
    EXPECT_EQ(others, 0u) << bytes;
  }
  EXPECT_THROW(allocate(~size_t{0} - 100), std::bad_alloc);
}

TEST(IsaTest, IsChosenByName) {
  const auto isas = available_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.back(), &portable_isa());
  EXPECT_EQ(&choose_isa("auto"), isas.front());
  for (const Isa* isa : isas) EXPECT_EQ(&choose_isa(isa->name), isa);
  EXPECT_THROW(choose_isa("mmx"), std::runtime_error);
}

}  // namespace
}  // namespace lapidary::cpu
