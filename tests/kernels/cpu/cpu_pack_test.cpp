#include "kernels/cpu/pack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "kernels/cpu/memory.h"
#include "tests/amx_emulation/emulated_isa.h"
#include "tests/support/print.h"

namespace lapidary::cpu {
namespace {

class PanelTest : public testing::TestWithParam<std::tuple<const Isa*, DType>> {
 protected:
  const Isa& isa() const { return *std::get<0>(GetParam()); }
  DType dtype() const { return std::get<1>(GetParam()); }
  float stored(float x) const { return dtype() == DType::bf16 ? from_bf16(to_bf16(x)) : x; }
};

std::string case_name(const testing::TestParamInfo<PanelTest::ParamType>& test) {
  return test_name(*std::get<0>(test.param)) + "_" + name_of(std::get<1>(test.param));
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, PanelTest,
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

TEST_P(PanelTest, LaysPanelsOutAsTheKernelsReadThem) {
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
