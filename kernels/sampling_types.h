#pragma once

#include <cstdint>
#include <limits>

namespace lapidary {

struct Candidate {
  int32_t token;
  float logit;
};
/// What stands where there are fewer candidates than slots: behind every other.
inline constexpr Candidate kNoCandidate{std::numeric_limits<int32_t>::max(),
                                        -std::numeric_limits<float>::infinity()};
/// Larger logits first, ties by lower token.
constexpr bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

/// How a row's next token is drawn: temperature, then top-k, then top-p, as transformers orders them.
struct SamplingParams {
  float temperature = 0;  // 0: greedy, the lowest token on a tie
  uint64_t seed = 0;
  int64_t position = 0;  // of the token to be drawn; with the seed it is all the randomness there is
  int32_t top_k = 0;     // 0: off
  float top_p = 1;       // 1: off

  /// Drawn from the best candidates in order; others are the largest (perturbed) logit.
  constexpr bool restricted() const { return temperature > 0 && (top_k > 0 || top_p < 1); }
  bool operator==(const SamplingParams&) const = default;
};

}  // namespace lapidary
