#pragma once

#include <memory>
#include <string>

#include "configs/wire/wire.pb.h"
#include "sharding/comm/watchdog.h"
#include "worker/engine/encoder_cache.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/memory_plan.h"
#include "worker/engine/step_executor.h"
#include "worker/model/group.h"
#include "worker/model/paligemma.h"

namespace lapidary {

/// One rank's part of the model with everything it needs: backend, weights, KV pages, and the sequences that
/// run. Every rank of a replica has one, those that only encode pictures too.
class Engine : public StepExecutor {
 public:
  /// Called on every rank of the replica; loading involves no communication until each rank says that it
  /// succeeded, so that one rank's bad file ends all with its sentence. `progress` hears of this rank's
  /// bytes; `rescue` says what happens when the rank's GPU waits for one that is gone.
  Engine(const EngineOptions& options, const ModelConfig& config, Group group,
         const LoadProgress& progress = {}, const Rescue& rescue = {});
  ~Engine() override;

  /// This rank's vision lane's results, which steps read; none by default. They outlive the engine's last
  /// step.
  void read_slots(const EncoderCache* slots);

  /// Starts the next step: called on every rank of the replica with the same steps, numbered 1, 2, 3, …
  /// Returns once this rank's part is computed, or, where tensors do not lie in host memory, once the device
  /// has been given it, so that its work never waits for the host; messages to other stages may still be
  /// under way (progress). Throws Error, and changes nothing, for a step whose numbers cannot be. Where the
  /// ranks record steps, a `hook` on one of several ranks needs a step that gathers the logits.
  void start(const wire::Step& step, const TensorHook& hook);
  void start(const wire::Step& step) override { start(step, {}); }
  bool ready() override;
  /// The tokens are there on the ranks of the last stage.
  wire::StepDone finish() override;
  bool progress() override;
  /// Steps started and not finished; at most StepRunner::kMaxInFlight.
  size_t started() const;
  /// Number of the newest step.
  uint64_t last_step() const;

  /// Numbers the step where it has no number, starts it and waits for its end; where no step is under way.
  wire::StepDone run(wire::Step step, const TensorHook& hook = {});

  /// The stage's part; std::logic_error on a rank that only encodes.
  PaliGemma& model();
  const ModelConfig& config() const;  // as the weights have it
  const Capacity& capacity() const;
  const StagePart& share() const;
  /// All that the engine allocated at start; a vision lane's tower and slots are not among it.
  Memory memory() const;
  Backend& backend();
  WeightTypes types() const;     // of weights; the KV cache is of types().linear
  std::string describe() const;  // "cpu avx512-bf16, bfloat16, 2 threads"

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace lapidary
