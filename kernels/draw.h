#pragma once

#include <cstdint>
#include <span>

#include "kernels/backend.h"

namespace lapidary {

/// A number in (0, 1) from all the randomness of a draw; a SplitMix64 finaliser over both keys.
constexpr double uniform_of(uint64_t seed, int64_t position) {
  uint64_t z = seed + 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(position) + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return (static_cast<double>(z >> 11) + 0.5) * 0x1p-53;
}

/// One token from candidates (best first, at least one): softmax at the temperature, the smallest set of
/// tokens reaching top_p, one uniform number from (seed, position).
int32_t draw_token(std::span<const Candidate> candidates, const SamplingParams& draw);

}  // namespace lapidary
