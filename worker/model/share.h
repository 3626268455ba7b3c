#pragma once

#include <span>

#include "configs/mesh.h"
#include "configs/model/model_config.h"
#include "sharding/checkpoint/weight_store.h"

namespace lapidary {

/// What of the model one rank holds; the ranks of a stage each hold a tensor-parallel shard of it.
struct Share {
  LayerRun layers;             // of the decoder; none where the rank only encodes
  bool embedding = false;      // the first stage: tokens become rows
  bool head = false;           // the last stage: rows become logits
  bool shared_vision = false;  // the first stage's vision tower, cut over its ranks
};

/// Everything on one tensor-parallel group.
Share whole_share(const ModelConfig& config);
/// Of the rank at `place`. Throws a sentence where `pp_layers` (empty: computed) does not fit mesh or model.
Share share_of(const ModelConfig& config, const Mesh& mesh, const Place& place,
               std::span<const int64_t> pp_layers = {}, bool shared_vision = false);

/// How many layers the head weighs when stages are balanced.
double head_in_layers(const ModelConfig& config);

/// Marks what other ranks hold as used, so that check_all_used finds only what nobody holds.
void ignore_others(WeightStore& weights, const ModelConfig& config, const Share& share);

}  // namespace lapidary
