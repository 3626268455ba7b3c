#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "tests/amx_emulation/emulated_isa.h"
#include "tests/kernels/cpu/cpu_devices.h"
#include "tests/kernels/matmul_cases.h"

// The kernel itself runs through all of matmul_test.cpp on the tiles in software. Here: the software's own
// rules, the kernel by itself, and, where the machine has tiles, that both agree.

namespace lapidary::cpu {
namespace {

struct Pairs {
  alignas(64) uint16_t value[16][32] = {};
};
struct Sums {
  alignas(64) float value[16][16] = {};
};

Sums multiply(const Sums& c, const Pairs& a, const Pairs& b) {
  SoftwareTiles::configure();
  SoftwareTiles::load<0>(c.value, 64);
  SoftwareTiles::load<4>(a.value, 64);
  SoftwareTiles::load<7>(b.value, 64);
  SoftwareTiles::dot_bf16<0, 4, 7>();
  Sums result;
  SoftwareTiles::store<0>(result.value, 64);
  SoftwareTiles::release();
  return result;
}

TEST(SoftwareTilesTest, MultiplyPairs) {
  Pairs a, b;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 32; ++j) {
      a.value[i][j] = to_bf16(static_cast<float>(i + 2 * j - 40));
      b.value[i][j] = to_bf16(static_cast<float>(3 * i - j));
    }
  }
  Sums c;
  c.value[3][5] = 1000;
  const Sums result = multiply(c, a, b);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      double expected = static_cast<double>(c.value[m][n]);
      for (int k = 0; k < 32; ++k) {
        expected += static_cast<double>(from_bf16(a.value[m][k])) *
                    static_cast<double>(from_bf16(b.value[k / 2][2 * n + k % 2]));
      }
      ASSERT_EQ(static_cast<double>(result.value[m][n]), expected) << m << ", " << n;
    }
  }
}

TEST(SoftwareTilesTest, SumEvenAndOddProductsApart) {
  // 2^24 + 1 rounds to 2^24: one after another the ones would vanish; the odd sum keeps them together.
  Pairs a, b;
  a.value[0][0] = b.value[0][0] = to_bf16(4096);
  for (int k = 0; k < 16; ++k) {
    a.value[0][2 * k + 1] = b.value[k][1] = to_bf16(1);
  }
  EXPECT_EQ(multiply({}, a, b).value[0][0], 0x1p24f + 16);
}

TEST(SoftwareTilesTest, FlushTheSmallestNumbers) {
  Pairs a, b;
  a.value[0][0] = 1;  // the smallest subnormal of bf16
  b.value[0][0] = to_bf16(0x1p100f);
  a.value[1][0] = to_bf16(0x1p-70f);
  b.value[0][2] = to_bf16(0x1p-70f);
  Sums c;
  c.value[2][2] = 0x1p-130f;
  const Sums result = multiply(c, a, b);
  EXPECT_EQ(result.value[0][0], 0);
  EXPECT_EQ(result.value[1][1], 0);
  EXPECT_EQ(result.value[2][2], 0);
}

TEST(SoftwareTilesTest, RefuseUseBeforeConfiguration) {
  SoftwareTiles::release();
  EXPECT_THROW(SoftwareTiles::zero<0>(), std::logic_error);
}

TEST(AmxTileTest, WritesItsRowsAndColumnsOnly) {
  SoftwareTiles::configure();
  const int64_t k = 96, stride = 80;
  std::vector<uint16_t> a(48 * k, to_bf16(1)), b(4 * k * 16, to_bf16(2));
  for (int rows = 1; rows <= 32; ++rows) {
    for (int panels = 1; panels <= 4; ++panels) {
      for (const bool accumulate : {false, true}) {
        std::vector<float> c(33 * stride, -1);
        tile_amx<SoftwareTiles, false>(c.data(), stride, a.data(), k, b.data(), k * 16, k, rows, panels,
                                       accumulate);
        for (int r = 0; r < 33; ++r) {
          for (int col = 0; col < stride; ++col) {
            const bool inside = r < rows && col < panels * 16;
            const float expected = !inside ? -1.0f : 192.0f - (accumulate ? 1.0f : 0.0f);
            ASSERT_EQ(c[r * stride + col], expected) << rows << " x " << panels << " at " << r << ", " << col;
          }
        }
      }
    }
  }
  SoftwareTiles::release();
}

TEST(AmxTileTest, MachineAndSoftwareAgree) {
  const auto isas = available_isas();
  if (isas.front() != &amx_isa()) GTEST_SKIP() << "this machine has no AMX";
  const Product product(75, 130, 500, DType::bf16, tree_plan(500, 4));
  Engine machine(device_with(amx_isa()), 2, product.rows, product.in),
      software(device_with(emulated_amx_isa()), 2, product.rows, product.in);
  EXPECT_TRUE(same_bits(product.run(machine), product.run(software)));
}

}  // namespace
}  // namespace lapidary::cpu
