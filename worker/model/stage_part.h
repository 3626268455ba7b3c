#pragma once

#include <span>

#include "configs/mesh.h"
#include "configs/model/model_config.h"
#include "sharding/checkpoint/weight_store.h"

namespace lapidary {

/// What of the model one rank holds; the ranks of a stage each hold a tensor-parallel shard of it.
struct StagePart {
  LayerRun layers;             // of the decoder; none where the rank only encodes
  bool embedding = false;      // the first stage: tokens become rows
  bool head = false;           // the last stage: rows become logits
  bool shared_vision = false;  // the first stage's vision tower, cut over its ranks
};

/// Everything on one tensor-parallel group.
StagePart whole_model_part(const ModelConfig& config);
/// Of the rank at `place`. Throws a sentence where `pp_layers` (empty: computed) does not fit mesh or model.
StagePart stage_part_of(const ModelConfig& config, const Mesh& mesh, const MeshCoord& coord,
                        std::span<const int64_t> pp_layers = {}, bool shared_vision = false);

/// How many layers the head weighs when stages are balanced.
double head_in_layers(const ModelConfig& config);

/// Marks what other ranks hold as used, so that check_all_used finds only what nobody holds.
void ignore_others(WeightStore& weights, const ModelConfig& config, const StagePart& share);

}  // namespace lapidary
