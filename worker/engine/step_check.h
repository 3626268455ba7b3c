#pragma once

#include "configs/mesh.h"
#include "configs/model/model_config.h"
#include "configs/wire/wire.pb.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/sequences.h"

namespace lapidary {

/// What a step's numbers are held against: the same on every rank of a replica.
struct StepLimits {
  const ModelConfig& config;
  Capacity capacity;
  Mesh mesh;
  bool shared_vision;  // pixels may come in a step
};

/// A step comes over the network. Throws Error, naming the step and both numbers, where it does not follow
/// step `last`, or names slots, pages, slots, ranks, layers or tokens that are not there.
void check_step(const wire::Step& step, uint64_t last, const StepLimits& limits, const Sequences& sequences,
                const HeldPrefills& held);

}  // namespace lapidary
