#pragma once

#include <cstdint>
#include <string>

#include "kernels/backend.h"
#include "sharding/checkpoint/weight_store.h"
#include "sharding/plan/plan.h"
#include "worker/engine/engine_options.h"
#include "worker/model/capacity.h"
#include "worker/model/stage_part.h"

namespace lapidary {

/// What --dtype stands for; automatic is what config.json says, else bfloat16.
DType resolve_dtype(DTypeOption option, const ModelConfig& config);

/// With --quantization: "fp8" holds the decoder's matrices in e4m3, "none" as all others.
WeightTypes resolve_types(const EngineOptions& options, const ModelConfig& config);

/// Bytes that a rank's engine will hold of weights and KV pages, and its vision lane (where `vision_lane`) of
/// weights and encoder cache slots, from the config alone; activations (`workspace`, 0 here) come on top.
/// Vectors are held in float32, matrices as the backend stores `types`.
Memory plan_memory(const ModelConfig& config, const ShardPlan& plan, const StagePart& share, bool vision_lane,
                   const Capacity& capacity, WeightTypes types, const Backend& backend);
/// Of the vision tower and the projector, cut as `plan.vision` says.
size_t vision_weight_bytes(const ModelConfig& config, const ShardPlan& plan, DType dtype);

/// Throws a sentence with the numbers, and what would help, where `ranks` of a host, each holding `planned`,
/// need more than `available` bytes.
void check_memory(const Memory& planned, int ranks, double available);

/// What this host could still give, in bytes; infinite where the system does not say.
double available_memory();

}  // namespace lapidary
