#include "sharding/checkpoint/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace lapidary {
namespace {

template <class Out, class In>
Out one(StoredType type, In value) {
  std::array<std::byte, sizeof(In) + 1> bytes;
  std::memcpy(bytes.data() + 1, &value, sizeof value);  // at an odd address, as a file may have it
  Out out;
  convert(type, bytes.data() + 1, 1, &out);
  return out;
}

float f16(uint16_t bits) { return one<float>(StoredType::f16, bits); }
uint16_t to_bf16_bits(float value) { return one<uint16_t>(StoredType::f32, value); }

/// The definition of a half: sign, five bits of exponent, ten of fraction.
double half_by_definition(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

TEST(Convert, EveryHalfIsExactInFloat32) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = f16(half);
    EXPECT_EQ(std::signbit(value), (bits & 0x8000) != 0);
    if ((bits & 0x7c00) != 0x7c00) {
      EXPECT_EQ(value, half_by_definition(half)) << std::hex << bits;
    } else if (bits & 1023) {
      EXPECT_TRUE(std::isnan(value)) << std::hex << bits;
    } else {
      EXPECT_TRUE(std::isinf(value)) << std::hex << bits;
    }
  }
}

TEST(Convert, EveryBfloat16KeepsItsBits) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto stored = static_cast<uint16_t>(bits);
    EXPECT_EQ(std::bit_cast<uint32_t>(one<float>(StoredType::bf16, stored)), bits << 16);
    EXPECT_EQ((one<uint16_t>(StoredType::bf16, stored)), stored);
  }
}

TEST(Convert, Float32KeepsItsBits) {
  for (uint32_t bits : {0u, 1u, 0x80000000u, 0x7f800000u, 0x7fc12345u, 0x3f800001u, 0x007fffffu}) {
    EXPECT_EQ(std::bit_cast<uint32_t>(one<float>(StoredType::f32, std::bit_cast<float>(bits))), bits);
  }
}

TEST(Convert, RoundsToNearestEven) {
  EXPECT_EQ(to_bf16_bits(1.0f), 0x3f80);
  EXPECT_EQ(to_bf16_bits(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // a tie, to even: down
  EXPECT_EQ(to_bf16_bits(std::bit_cast<float>(0x3f818000u)), 0x3f82);  // a tie, to even: up
  EXPECT_EQ(to_bf16_bits(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(to_bf16_bits(std::bit_cast<float>(0x3f80ffffu)), 0x3f81);
  EXPECT_EQ(to_bf16_bits(std::bit_cast<float>(0x00000001u)), 0x0000);  // subnormals
  EXPECT_EQ(to_bf16_bits(std::bit_cast<float>(0x00018000u)), 0x0002);
  EXPECT_EQ(to_bf16_bits(std::numeric_limits<float>::max()), 0x7f80);  // beyond the largest bfloat16
  EXPECT_EQ(to_bf16_bits(-std::numeric_limits<float>::infinity()), 0xff80);
  EXPECT_EQ(to_bf16_bits(std::bit_cast<float>(0x7f800001u)),
            0x7fc0);  // a NaN whose upper half would be infinity
  EXPECT_EQ((one<uint16_t>(StoredType::f16, uint16_t{0x0001})), 0x3380);  // 2^-24
  EXPECT_EQ((one<uint16_t>(StoredType::f16, uint16_t{0x7c00})), 0x7f80);
  EXPECT_EQ((one<uint16_t>(StoredType::f16, uint16_t{0x3c04})), 0x3f80);  // 1 + 4/1024, a tie, to even
}

TEST(Convert, LongRunsEqualSingleElements) {
  std::vector<uint16_t> halves(1031);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i * 61);
  std::vector<float> floats(halves.size());
  convert(StoredType::f16, reinterpret_cast<const std::byte*>(halves.data()), 1031, floats.data());
  for (size_t i = 0; i < halves.size(); ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(floats[i]), std::bit_cast<uint32_t>(f16(halves[i])));
  }
}

TEST(Convert, RefusesOtherTypes) {
  const std::byte byte{};
  float out;
  EXPECT_THROW(convert(StoredType::i8, &byte, 1, &out), std::logic_error);
  EXPECT_FALSE(is_weight_type(StoredType::f64));
}

}  // namespace
}  // namespace lapidary
