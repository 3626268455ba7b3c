#include "configs/model/model_config.h"

namespace lapidary {
namespace {

int64_t linear(int64_t in, int64_t out) { return in * out + out; }

int64_t vision_parameters(const VisionConfig& v) {
  const int64_t h = v.hidden_size;
  const int64_t embeddings = linear(v.channels * v.patch_size * v.patch_size, h) + v.tokens() * h;
  const int64_t layer =
      4 * linear(h, h) + linear(h, v.intermediate_size) + linear(v.intermediate_size, h) + 4 * h;
  return embeddings + v.layers * layer + 2 * h;
}

int64_t text_parameters(const TextConfig& t) {
  const int64_t h = t.hidden_size;
  const int64_t layer = 2 * t.q_width() * h + 2 * t.kv_width() * h + 3 * h * t.intermediate_size + 4 * h;
  const int64_t tables = t.vocab_size * h * (t.tie_word_embeddings ? 1 : 2);
  return tables + t.layers * layer + h;
}

}  // namespace

ParameterCounts parameters(const ModelConfig& config) {
  return {vision_parameters(config.vision), linear(config.vision.hidden_size, config.projection_dim),
          text_parameters(config.text)};
}

}  // namespace lapidary
