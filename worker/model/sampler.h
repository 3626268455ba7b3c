#pragma once

#include <span>

#include "worker/model/layers.h"

namespace lapidary {

/// Draws one token a row, the same on every rank of a group, where the logits are: only candidates travel,
/// and neither they nor the tokens pass the host.
class Sampler {
 public:
  /// For up to `rows` rows a step.
  Sampler(Rank rank, int64_t rows);

  /// Whether the host has to help: restricted draws from more candidates than Backend::kMaxCandidates, and by
  /// top-p alone. Then sample() waits for the device.
  static bool needs_host(std::span<const SamplingParams> sampling);
  /// Candidates of a row that sample() gathers for these draws: what it does is otherwise the same work.
  static int64_t width(std::span<const SamplingParams> sampling);

  /// Where sample() puts its tokens.
  Tensor tokens(int64_t rows) const { return tokens_.row_range(0, rows); }
  /// tokens(rows) [rows, 1] int32, from logits [rows, my vocabulary rows] before the soft-cap `cap` (0:
  /// none), which may be changed. first_token: of my vocabulary.
  void sample(Tensor logits, int64_t first_token, float cap, std::span<const SamplingParams> sampling);

  size_t bytes() const { return space_.bytes(); }

 private:
  void sample_on_host(Tensor tokens, Tensor logits, int64_t first_token,
                      std::span<const SamplingParams> sampling);

  Rank rank_;
  Workspace space_;
  Tensor found_;   // [rows, 2 * width], a row's candidates
  Tensor all_;     // [ranks * rows, 2 * width]; found_ where there is one rank
  Tensor tokens_;  // [rows, 1]
};

}  // namespace lapidary
