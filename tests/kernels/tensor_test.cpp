#include "kernels/tensor.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lapidary {
namespace {

/// e4m3 by its definition.
double value_of(int bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const double size = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (bits & 0x80) != 0 ? -size : size;
}

TEST(E4m3Test, IsReadAsDefined) {
  for (int bits = 0; bits < 256; ++bits) {
    const float value = from_e4m3(static_cast<uint8_t>(bits));
    if ((bits & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value));
    } else {
      EXPECT_EQ(value, value_of(bits)) << bits;
      EXPECT_EQ(to_e4m3(value), bits);
    }
  }
}

TEST(E4m3Test, RoundsToNearestAndTiesToEven) {
  for (int bits = 0; bits < 0x7e; ++bits) {
    const auto low = static_cast<float>(value_of(bits)), high = static_cast<float>(value_of(bits + 1));
    const float middle = (low + high) / 2;
    EXPECT_EQ(to_e4m3(std::nextafter(middle, 0.0f)), bits);
    EXPECT_EQ(to_e4m3(std::nextafter(middle, 1000.0f)), bits + 1);
    EXPECT_EQ(to_e4m3(middle), bits + bits % 2) << bits;
    EXPECT_EQ(to_e4m3(-middle), 0x80 + bits + bits % 2);
  }
}

TEST(E4m3Test, EndsAt448) {
  EXPECT_EQ(to_e4m3(449), 0x7e);
  EXPECT_EQ(to_e4m3(1e30f), 0x7e);
  EXPECT_EQ(to_e4m3(-INFINITY), 0xfe);
  EXPECT_EQ(to_e4m3(NAN) & 0x7f, 0x7f);
  EXPECT_EQ(to_e4m3(1e-40f), 0);
}

TEST(E4m3ScaleTest, IsThePowerOfTwoThatBringsTheLargestBelow448) {
  for (const float most : {448.0f, 224.1f, 1.0f, 3e-20f, 7.25f, 1e30f, 448.1f}) {
    const float scale = e4m3_scale(most);
    int exponent = 0;
    EXPECT_EQ(std::frexp(scale, &exponent), 0.5f) << most;
    EXPECT_LE(most / scale, 448) << most;
    EXPECT_GT(most / scale, 224) << most;
  }
  EXPECT_EQ(e4m3_scale(448), 1);
  EXPECT_EQ(e4m3_scale(0), 1);
  EXPECT_TRUE(std::isnan(e4m3_scale(NAN)));
}

}  // namespace
}  // namespace lapidary
