#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "coordinator/cli/bench/report.h"
#include "coordinator/cli/bench/work.h"
#include "coordinator/cli/engine.h"

namespace lapidary {

struct ModelBench {
  EngineFlags flags;
  FigureFile figures;
  int images = 1;
  int prompt_tokens = 16;
  int new_tokens = 16;
  int repeats = 3;
  std::vector<int> sequences{1};  // that decode together
  int prefills = 1;               // prompts of one prefill step
  int vision_images = 0;          // that the tower is timed on; 0: the prompt's
  int shard_of = 0;               // rank 0's part of so many alone
  bool together = false;          // the tower beside decode steps

  int max_sequences() const { return *std::max_element(sequences.begin(), sequences.end()); }
  int tower_images() const { return vision_images > 0 ? vision_images : images; }
  int room() const { return new_tokens + (together ? kTogetherSteps : 0); }  // tokens after a prompt
  static constexpr int kTogetherSteps = 400;
};

struct DecodeTime {
  int sequences;
  double seconds;  // a step
};
struct Timings {
  double load = 0, vision = 0, prefill = 0;  // seconds
  std::vector<DecodeTime> decode;
  std::optional<Together> together;
};

/// What `bench model` says of a model whose decoder's weights are `weights` bytes on all ranks together.
void print_speed(const ModelBench& bench, const ModelConfig& config, const Timings& timings,
                 const Roofline& limits, double weights, double kv_element);
/// Of one shard alone (ModelBench::shard_of).
void print_shard(const ModelBench& bench, const ModelConfig& config, const Timings& timings);
/// A row a rank, and all together: what was allocated at start beside what the system counted at most.
void print_memory(Communicator& comm, Engine& engine);

}  // namespace lapidary
