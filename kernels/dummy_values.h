#pragma once

#include <cstdint>

namespace lapidary {

/// Numbers that follow from a seed, their row and their column alone: step · (2k + 1) + center, k an
/// eight-bit hash of the three, cut to its upper `bits`. What makes them is the same on every device, bit by
/// bit: steps are powers of two, and no product or sum is rounded.
struct DummyValues {
  uint64_t seed = 0;
  float step = 1;
  float center = 0;
  int bits = 8;
};

/// The mixing function of splitmix64.
constexpr uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// The mixing function of MurmurHash3, without its last step, which would only stir the lower half. All in 32
/// bits and without branches, so that the compiler makes it four or more at a time.
constexpr uint32_t mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  return (x ^ (x >> 13)) * 0xc2b2ae35u;
}

/// What all numbers of a row have in common.
constexpr uint32_t row_key(const DummyValues& made, int64_t row) {
  return static_cast<uint32_t>(mix(made.seed + static_cast<uint64_t>(row) * 0x9e3779b97f4a7c15u));
}

constexpr float number_at(const DummyValues& made, uint32_t key, uint32_t col) {
  const auto hash = static_cast<int32_t>(mix(col * 0x9e3779b1u + key));
  return made.center + made.step * static_cast<float>(2 * (hash >> (32 - made.bits)) + 1);
}

}  // namespace lapidary
