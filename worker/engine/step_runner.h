#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/decode_buckets.h"
#include "worker/engine/image_landing.h"
#include "worker/engine/step_check.h"
#include "worker/engine/token_feed.h"
#include "worker/model/paligemma.h"
#include "worker/model/sampler.h"

namespace lapidary {

/// Runs a replica's steps on one of its ranks: keeps the sequences, and does what falls to this rank's slot.
/// Stage s hands its rows to stage s + 1 (each rank to the one with its shard); the last stage samples.
class StepRunner {
 public:
  /// `model` is null on a rank that only encodes; `value_of` as PaliGemma::encode takes it. All outlive this.
  StepRunner(Backend& ops, const DeviceGroup& group, const StepLimits& limits, const StagePart& share,
             PaliGemma* model, const float* value_of);

  void read_slots(const EncoderCache* slots) { landing_.read_slots(slots); }

  /// Steps that may be started and not finished.
  static constexpr size_t kMaxInFlight = 4;
  /// Gives the step to the device; on one in host memory it is done then.
  void start(const wire::Step& step, const TensorHook& hook);
  size_t started() const { return in_flight_.size(); }
  /// Whether the oldest step that was started is done: finish() would not wait.
  bool ready();
  /// Waits for it, and takes its tokens.
  wire::StepDone finish();

  uint64_t last_step() const { return last_; }
  size_t workspace_bytes() const;

 private:
  /// Sequences that go through the layers together.
  struct Work {
    Batch batch;
    std::vector<int32_t> slots;  // of the batch's sequences, then of its padding
    Tensor rows;                 // [capacity.max_num_batched_tokens(), hidden]
    Tensor x() const { return rows.row_range(0, batch.size()); }
    std::span<const int32_t> sequences() const {
      return {slots.data(), static_cast<size_t>(batch.sequences())};
    }
  };

  /// A step that was started; its tokens are on their way.
  struct InFlightStep {
    uint64_t number;
    std::unique_ptr<Readback> tokens;
  };

  void run(const wire::Step& step, const TensorHook& hook);
  void begin(const wire::Step& step, const TensorHook& hook);
  void add_decodes(const wire::Step& step);
  void add_prefills(const wire::Step& step, Work& work) const;
  void run_group(const wire::Step& step, const TensorHook& hook);
  void advance(Work& work, LayerRun run, const wire::Step& step, const TensorHook& hook);
  void compute(Work& work, LayerRun run, const wire::Step& step, const TensorHook& hook);
  bool can_record(const wire::Step& step, const TensorHook& hook) const;
  DecodeBucket pad(Work& work);
  void collect_sampling(const Work& work);
  void sample_last(Work& work, const wire::Step& step, const TensorHook& hook);
  void mark_decoding(std::span<const int32_t> slots);

  Backend& ops_;
  const DeviceGroup& group_;
  StepLimits limits_;
  StagePart share_;
  PaliGemma* model_;
  const float* value_of_;
  uint64_t last_ = 0;  // number of the newest step

  Sequences sequences_;
  HeldPrefills held_;
  TokenFeed feed_;
  ImageLanding landing_;
  Workspace space_;
  Work whole_;                            // of this step
  Work group_work_;                       // of the prefills held
  std::optional<Sampler> sampler_;        // on the last stage
  std::vector<SamplingParams> sampling_;  // a row of logits
  Tensor tokens_;                         // of the step under way; empty where none are drawn
  std::deque<InFlightStep> in_flight_;    // oldest first
  std::vector<std::unique_ptr<Readback>> spare_;
};

}  // namespace lapidary
