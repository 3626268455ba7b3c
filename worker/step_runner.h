#pragma once

#include "worker/image_landing.h"
#include "worker/paligemma.h"
#include "worker/step_check.h"
#include "worker/token_feed.h"

namespace lapidary {

/// Runs a replica's steps on one of its ranks: keeps the sequences, and does what falls to this rank's place.
/// Stage s hands its rows to stage s + 1 (each rank to the one with its shard); the last stage samples.
class StepRunner {
 public:
  /// `model` is null on a rank that only encodes; `value_of` as PaliGemma::encode takes it. All outlive this.
  StepRunner(Backend& ops, const Group& group, const StepLimits& limits, const Share& share, PaliGemma* model,
             const float* value_of);

  void read_slots(const EmbeddingSlots* slots) { landing_.read_slots(slots); }
  wire::StepDone run(const wire::Step& step, const Probe& probe);
  uint64_t last_step() const { return last_; }
  size_t workspace_bytes() const { return space_.bytes() + landing_.bytes(); }

 private:
  /// Sequences that go through the layers together.
  struct Work {
    Batch batch;
    std::vector<int32_t> places;  // of the batch's sequences
    Tensor rows;                  // [capacity.rows, hidden]
    Tensor x() const { return rows.row_range(0, batch.size()); }
  };

  void begin(const wire::Step& step, const Probe& probe);
  void add_decodes(const wire::Step& step);
  void add_prefills(const wire::Step& step, Work& work) const;
  void advance(Work& work, LayerRun run, const wire::Step& step, wire::StepDone& done, const Probe& probe);
  void sample_last(Work& work, const wire::Step& step, wire::StepDone& done, const Probe& probe);
  void finish(std::span<const int32_t> places);
  void run_group(const wire::Step& step, wire::StepDone& done, const Probe& probe);

  Backend& ops_;
  const Group& group_;
  StepLimits limits_;
  Share share_;
  PaliGemma* model_;
  const float* value_of_;
  uint64_t last_ = 0;  // number of the newest step

  Sequences sequences_;
  HeldPrefills held_;
  TokenFeed feed_;
  ImageLanding landing_;
  Workspace space_;
  Work whole_;       // of this step
  Work group_work_;  // of the prefills held
  std::vector<SampleSpec> specs_;
};

}  // namespace lapidary
