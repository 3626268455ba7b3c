#pragma once

#include <span>
#include <vector>

#include "worker/layers.h"

namespace lapidary {

/// How a sequence's next token is drawn: temperature, then top-k, then top-p, as transformers orders them.
struct SampleSpec {
  float temperature = 0;  // 0: greedy, the lowest token on a tie
  int top_k = 0;          // 0: off
  float top_p = 1;        // 1: off
  uint64_t seed = 0;
  int64_t position = 0;  // of the token to be drawn; with the seed it is all the randomness there is
};

/// Draws one token a row from logits [rows, my vocabulary rows], the same on every rank. Logits stay where
/// they are: only candidates travel. Perturbs the logits of rows with a plain temperature.
std::vector<int32_t> sample(Rank rank, Tensor logits, int64_t first_token, std::span<const SampleSpec> specs);

/// One token from candidates (largest logit first): softmax at the temperature, the smallest set of tokens
/// reaching top_p, one uniform number from (seed, position).
int32_t draw(std::span<const Candidate> candidates, const SampleSpec& spec);

}  // namespace lapidary
