#pragma once

#include <memory>
#include <string>

#include "configs/wire/wire.pb.h"
#include "sharding/comm/watchdog.h"
#include "worker/engine/encoder_cache.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/group.h"
#include "worker/engine/memory_plan.h"
#include "worker/model/paligemma.h"

namespace lapidary {

/// One rank's part of the model with everything it needs: backend, weights, KV pages, and the sequences that
/// run. Every rank of a replica has one, those that only encode pictures too.
class Engine {
 public:
  /// Called on every rank of the replica; loading involves no communication until each rank says that it
  /// succeeded, so that one rank's bad file ends all with its sentence. `progress` hears of this rank's
  /// bytes; `rescue` says what happens when the rank's GPU waits for one that is gone.
  Engine(const EngineOptions& options, const ModelConfig& config, Group group,
         const LoadProgress& progress = {}, const Rescue& rescue = {});
  ~Engine();

  /// This rank's vision lane's results, which steps read; none by default. They outlive the engine's last
  /// step.
  void read_slots(const EncoderCache* slots);

  /// Starts the next step: called on every rank of the replica with the same steps. Returns once this rank's
  /// part is computed, or, where tensors do not lie in host memory, once the device has been given it, so
  /// that its work never waits for the host; messages to other stages may still be under way
  /// (Communicator::progress). Throws Error, and changes nothing, for a step whose numbers cannot be.
  void start(const wire::Step& step, const TensorHook& hook = {});
  /// Whether the oldest started step is done, so that finish() would not wait.
  bool ready();
  /// Waits for the oldest started step. The tokens are there on the ranks of the last stage.
  wire::StepDone finish();
  /// Steps started and not finished; at most StepRunner::kMaxInFlight.
  size_t started() const;

  /// Both at once, where no step is under way.
  wire::StepDone run(const wire::Step& step, const TensorHook& hook = {});

  /// On replica rank 0: numbers the step, sends it to the followers, and runs it. A step with `stop` ends
  /// them.
  wire::StepDone lead(wire::Step step, const TensorHook& hook = {});
  /// The same without its end: finish() waits for that. The followers keep up with two steps under way.
  void lead_start(wire::Step step, const TensorHook& hook = {});
  /// On the others: runs what rank 0 sends until a step says stop.
  void follow();

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
