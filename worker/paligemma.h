#pragma once

#include <memory>
#include <span>
#include <vector>

#include "configs/model_config.h"
#include "configs/numerics.h"
#include "sharding/plan.h"
#include "worker/gemma2.h"
#include "worker/siglip.h"

namespace lapidary {

/// Most that one process is asked to hold at once; what is allocated at start follows from it.
struct Capacity {
  int64_t images = 4;      // encoded at once
  int64_t slots = 16;      // images whose embeddings wait for their prefill
  int64_t rows = 4160;     // new rows of one step
  int64_t sequences = 16;  // of one step
  int64_t length = 4352;   // tokens of one sequence, generated ones included
  int64_t pages = 1088;    // KV pages
};

/// New rows of one sequence: its whole prefix, or its last token.
struct SequenceRows {
  std::span<const int32_t> ids;    // image_token_id where an image's embeddings go
  int64_t position = 0;            // index in the sequence of ids[0], from 0
  int64_t prefix = 0;              // image and prompt tokens
  std::span<const int32_t> pages;  // its KV pages
  std::span<const int32_t> slots;  // embedding slots of its images, in prompt order
};

/// PaliGemma 2 on one rank of a tensor-parallel group. Every rank calls the same methods with the same
/// arguments.
class PaliGemma {
 public:
  /// `config` fits the weights (fit_to_weights).
  PaliGemma(const ModelConfig& config, const NumericsProfile& profile, WeightStore& weights, Rank rank,
            const Capacity& capacity);

  const ModelConfig& config() const { return config_; }
  const ShardPlan& plan() const { return plan_; }
  const Capacity& capacity() const { return capacity_; }

  /// RGB8 images of image_size * image_size * 3 bytes into embedding slots.
  void encode(std::span<const uint8_t* const> images, std::span<const int32_t> slots, const float* value_of,
              const Probe& probe = {});

  /// Runs all new rows, and returns the logits after each sequence's last one: [sequences, my vocabulary
  /// rows].
  Tensor forward(std::span<const SequenceRows> step, const Probe& probe = {});

  struct Memory {
    size_t weights, kv, embeddings, workspace;
    size_t total() const { return weights + kv + embeddings + workspace; }
  };
  Memory memory() const;

  /// What a rank would hold, without building it.
  static ShardPlan plan_for(const ModelConfig& config, int rank, int ranks);

 private:
  Tensor embed(std::span<const SequenceRows> step, int64_t rows);
  void place_images(Tensor x, std::span<const SequenceRows> step);

  ModelConfig config_;
  NumericsProfile profile_;
  ShardPlan plan_;
  Rank rank_;
  std::unique_ptr<Communicator> alone_;  // the vision tower's group where each rank has it whole
  Capacity capacity_;
  float text_scale_;   // embeddings are multiplied by √hidden, as the weights' dtype rounds it
  float image_scale_;  // what the profile does to image rows; 1 for current ones
  float final_cap_;    // 0: none

  Matrix embedding_;  // [my vocabulary rows, hidden]
  Matrix head_;       // the same, or empty where the head is the embedding
  Siglip vision_;
  Gemma2 decoder_;
  KvPages kv_;
  int64_t weight_bytes_;
  SumTree::Finish embed_finish_;

  Workspace slots_space_, workspace_;
  Tensor slots_;     // [slots * tokens, hidden]
  Tensor encoded_;   // [images * tokens, hidden]
  Tensor x_;         // [rows, hidden]
  Tensor embedded_;  // [rows, hidden], before the sum over ranks
  Tensor last_;      // [sequences, hidden]
  Tensor normed_;    // [sequences, hidden]
  Tensor logits_;    // [sequences, my vocabulary rows]
};

}  // namespace lapidary
