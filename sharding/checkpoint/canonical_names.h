#pragma once

#include <string>
#include <string_view>

namespace lapidary {

/// The one name that all spellings of a weight share. Checkpoints differ by the library that wrote them:
/// wrapped in `base_model.model.` or `model.`, with `language_model.model.` or without its inner `model.`,
/// with or without `vision_model.` inside `vision_tower.`, the head inside or outside the language model. The
/// canonical ones are
///   language_model.{embed_tokens.weight, norm.weight, layers.I.…}, lm_head.weight,
///   multi_modal_projector.linear.{weight, bias},
///   vision_tower.{embeddings.…, encoder.layers.I.…, post_layernorm.…}.
/// A name of another model comes back as it is, less its wrapping; nobody asks for it.
std::string canonical_name(std::string_view stored);

}  // namespace lapidary
