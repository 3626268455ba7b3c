#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/tensor.h"

namespace lapidary {

/// Normally distributed numbers, rounded to bfloat16.
inline std::vector<uint16_t> random_bf16(size_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> numbers(n);
  for (uint16_t& x : numbers) x = to_bf16(normal(engine));
  return numbers;
}

}  // namespace lapidary
