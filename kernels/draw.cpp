#include "kernels/draw.h"

#include <cmath>
#include <vector>

namespace lapidary {

int32_t draw_token(std::span<const Candidate> candidates, const SamplingParams& draw) {
  std::vector<double> weights;
  double total = 0;
  for (const Candidate& c : candidates) {
    weights.push_back(std::exp((static_cast<double>(c.logit) - candidates[0].logit) / draw.temperature));
    total += weights.back();
  }
  double kept = 0;
  size_t count = 0;  // the smallest set that reaches top_p, never empty
  while (count < weights.size() && (count == 0 || kept < draw.top_p * total)) kept += weights[count++];
  double left = uniform_of(draw.seed, draw.position) * kept;
  for (size_t i = 0; i < count; ++i) {
    left -= weights[i];
    if (left < 0) return candidates[i].token;
  }
  return candidates[count - 1].token;
}

}  // namespace lapidary
