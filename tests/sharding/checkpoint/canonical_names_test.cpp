#include "sharding/checkpoint/canonical_names.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

TEST(CanonicalNames, AllSpellingsOfAWeightMeet) {
  const std::string text = "language_model.layers.7.self_attn.q_proj.weight";
  for (const char* stored : {"language_model.model.layers.7.self_attn.q_proj.weight",
                             "language_model.layers.7.self_attn.q_proj.weight",
                             "model.language_model.layers.7.self_attn.q_proj.weight",
                             "model.language_model.model.layers.7.self_attn.q_proj.weight",
                             "base_model.model.language_model.model.layers.7.self_attn.q_proj.weight",
                             "base_model.model.model.language_model.layers.7.self_attn.q_proj.weight"}) {
    EXPECT_EQ(canonical_name(stored), text) << stored;
  }
  const std::string tower = "vision_tower.encoder.layers.0.mlp.fc1.bias";
  for (const char* stored : {"vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias",
                             "vision_tower.encoder.layers.0.mlp.fc1.bias",
                             "model.vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias",
                             "base_model.model.model.vision_tower.encoder.layers.0.mlp.fc1.bias"}) {
    EXPECT_EQ(canonical_name(stored), tower) << stored;
  }
  for (const char* stored : {"lm_head.weight", "language_model.lm_head.weight", "model.lm_head.weight",
                             "model.language_model.lm_head.weight", "base_model.model.lm_head.weight"}) {
    EXPECT_EQ(canonical_name(stored), "lm_head.weight") << stored;
  }
  for (const char* stored :
       {"multi_modal_projector.linear.weight", "model.multi_modal_projector.linear.weight",
        "base_model.model.multi_modal_projector.linear.weight"}) {
    EXPECT_EQ(canonical_name(stored), "multi_modal_projector.linear.weight") << stored;
  }
  EXPECT_EQ(canonical_name("language_model.model.embed_tokens.weight"), "language_model.embed_tokens.weight");
  EXPECT_EQ(canonical_name("language_model.model.norm.weight"), "language_model.norm.weight");
}

TEST(CanonicalNames, OthersStayAsTheyAre) {
  EXPECT_EQ(canonical_name("transformer.h.0.weight"), "transformer.h.0.weight");
  EXPECT_EQ(canonical_name("model.layers.0.mlp.up_proj.weight"), "layers.0.mlp.up_proj.weight");
  EXPECT_EQ(canonical_name("vision_model.vision_tower.x"), "vision_model.vision_tower.x");
  EXPECT_EQ(canonical_name(""), "");
  EXPECT_EQ(canonical_name("model."), "");
}

}  // namespace
}  // namespace lapidary
