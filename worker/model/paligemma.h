#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "configs/model/model_config.h"
#include "configs/model/numerics.h"
#include "sharding/plan/plan.h"
#include "worker/model/capacity.h"
#include "worker/model/gemma2.h"
#include "worker/model/siglip.h"
#include "worker/model/stage_part.h"

namespace lapidary {

/// The new rows of several sequences: whole prefixes, and last tokens.
struct Batch {
  std::vector<int32_t> ids;         // a row: its token; image_token_id where an image's row goes
  std::vector<int64_t> image_rows;  // an image: its first row
  RaggedRows rows;                  // the sequences' KV pages stay where they are as long as the batch
  int64_t padding = 0;              // rows at the end that are no sequence's, and that nobody reads

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  int64_t sequences() const { return static_cast<int64_t>(rows.spans.size()); }
  void clear();
  /// Appends a sequence's `count` new rows, from its token `position` on; their ids follow.
  void add(int64_t count, int64_t position, int64_t prefix, std::span<const int32_t> pages);
  /// Appends `count` rows of padding with this id.
  void pad(int64_t count, int32_t id);
  /// Whether every row is its sequence's last one, or padding.
  bool decodes_only() const { return sequences() + padding == size(); }
};

/// One rank's share of PaliGemma 2: some layers of the decoder, and the parts at its ends that the share
/// names. The ranks of a stage call the same methods with the same arguments.
class PaliGemma {
 public:
  /// `config` fits the weights (fit_to_weights).
  PaliGemma(const ModelConfig& config, const NumericsProfile& profile, WeightStore& weights, Rank rank,
            const Capacity& capacity, const StagePart& share);

  const ModelConfig& config() const { return config_; }
  const ShardPlan& plan() const { return plan_; }
  const Capacity& capacity() const { return capacity_; }

  /// Lets the backend measure its products (Backend::tune), once scratch is reserved.
  void tune();

  /// The shared vision tower: out [images * tokens, hidden] from RGB8 images of image_size * image_size * 3
  /// bytes.
  void encode(Tensor out, std::span<const uint8_t* const> images, const float* value_of,
              const TensorHook& hook = {});

  /// The first stage: x [rows, hidden] = the batch's tokens embedded (those at places of `token_table`, as
  /// Backend::embed has it), and the rows of `images` [images * tokens, hidden] where its images are.
  void embed(Tensor x, const Batch& batch, Tensor token_table, Tensor images, const TensorHook& hook = {});
  /// Layers `run`, which this rank holds, over x [rows, hidden] in place. After each of them what was sent on
  /// `peers` is moved on.
  void run_layers(Tensor x, const Batch& batch, LayerRun run, Communicator& peers,
                  const TensorHook& hook = {});
  /// The last stage: the logits after each sequence's last row, [sequences, my vocabulary rows], before their
  /// soft-cap logits_cap() (0: none); of padding too, where the batch decodes only.
  Tensor logits(Tensor x, const Batch& batch, const TensorHook& hook = {});
  float logits_cap() const { return final_cap_; }
  /// Reports logits [sequences, vocabulary], whole on every rank.
  void report_logits(Tensor mine, const TensorHook& hook);

  Memory memory() const;

  /// What a rank of a stage would hold of a layer, without building it.
  static ShardPlan plan_for(const ModelConfig& config, int rank, int ranks);

 private:
  void load_head(WeightStore& weights);
  /// The last row of each sequence. Where they lie evenly (prefixes of one length, a prefix before decodes)
  /// they are seen where they are; else each run that does is copied at once.
  Tensor last_rows(Tensor x, const Batch& batch);

  ModelConfig config_;
  ShardPlan plan_;
  Rank rank_;
  std::unique_ptr<DeviceComm> alone_;  // the vision tower's group where each rank has it whole
  Capacity capacity_;
  float text_scale_;   // embeddings are multiplied by √hidden, as the weights' dtype rounds it
  float image_scale_;  // what the profile does to image rows; 1 for current ones
  float final_cap_;    // 0: none

  Matrix embedding_;  // [my vocabulary rows, hidden]; empty where neither end of the model is held
  Matrix head_;       // the same, or empty where the head is the embedding
  std::optional<Siglip> vision_;
  Gemma2 decoder_;
  KvPages kv_;
  int64_t weight_bytes_;
  SumTree::Finish embed_finish_;

  Workspace workspace_;
  Tensor embedded_;  // [rows, hidden], before the sum over ranks
  Tensor last_;      // [sequences, hidden]
  Tensor normed_;    // [sequences, hidden]
  Tensor logits_;    // [sequences, my vocabulary rows]
};

}  // namespace lapidary
