#pragma once

#include <cstdint>
#include <string>

#include "worker/paligemma.h"

namespace lapidary {

/// The dtype that `name` ("float32", "bfloat16", "auto") stands for; auto is what config.json says, else
/// bfloat16.
DType resolve_dtype(const std::string& name, const ModelConfig& config);

/// Bytes that a rank will hold of weights, KV pages and embedding slots, from the config alone; activations
/// (`workspace`, 0 here) come on top. Matrices are held in `dtype`, vectors in float32.
PaliGemma::Memory plan_memory(const ModelConfig& config, const ShardPlan& plan, const Capacity& capacity,
                              DType dtype, const Backend& backend);

/// Throws a sentence with the numbers, and what would help, where `ranks` of a host, each holding `planned`,
/// need more than `available` bytes.
void check_memory(const PaliGemma::Memory& planned, int ranks, double available);

/// What this host could still give, in bytes; infinite where the system does not say.
double available_memory();
/// Ranks that the launcher started on this host.
int ranks_on_host();

}  // namespace lapidary
