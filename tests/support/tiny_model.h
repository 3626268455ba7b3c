#pragma once

#include "configs/model/model_config.h"

namespace lapidary {

/// A PaliGemma 2 of a few thousand weights with the real one's oddities: head_dim is not hidden/heads, the
/// query scalar is not head_dim, two query heads share a KV head.
inline ModelConfig tiny_model() {
  ModelConfig config;
  config.vision = {24, 20, 2, 3, 28, 14, 3, 1e-6};
  config.text.vocab_size = 50;
  config.text.hidden_size = 32;
  config.text.intermediate_size = 48;
  config.text.layers = 2;
  config.text.heads = 4;
  config.text.kv_heads = 2;
  config.text.head_dim = 10;
  config.text.query_pre_attn_scalar = 12;
  config.text.sliding_window = 8;
  config.text.sliding_layers = {true, false};
  config.projection_dim = 32;
  config.image_token_id = 45;
  config.bos = 2;
  config.eos = {1};
  config.pad = 0;
  return config;
}

}  // namespace lapidary
