#pragma once

#include <array>
#include <memory>
#include <optional>

#include "sharding/checkpoint/weight_store.h"
#include "worker/engine/engine.h"
#include "worker/engine/step_runner.h"

namespace lapidary {

/// What an engine owns, in the order in which it comes to be: the device and the ways to its peers, what is
/// planned, then the model.
struct Engine::Parts {
  /// Plans the rank's part and refuses what its memory does not hold. Of the model nothing is allocated yet.
  Parts(const EngineOptions& options, const ModelConfig& given, const Group& where, const Rescue& rescue);
  /// The communicators end before anything goes that their work on the device may still want, and after the
  /// recordings that they are part of.
  ~Parts();

  void load(const LoadProgress& progress);

  ThreadPool threads;
  std::unique_ptr<Backend> backend;
  Watchdog watchdog;
  std::unique_ptr<DeviceComm> replica, tp;
  DeviceGroup group;
  NumericsProfile profile;
  ModelConfig config;
  WeightTypes types;
  Capacity capacity;
  bool shared_vision;
  std::unique_ptr<TensorSource> source;  // until the weights are packed
  std::array<float, 256> value_of{};
  ShardPlan plan;
  StagePart share;
  std::optional<PaliGemma> model;
  std::optional<StepRunner> runner;
  size_t scratch_bytes = 0;

 private:
  std::unique_ptr<DeviceComm> make_rows(const Group& where, Communicator& host, const EngineOptions& options);
  bool sees() const;
  void check_device(const EngineOptions& options);
  size_t count_device();
  void count_lane(WeightStore& weights);
  void reserve_scratch();
};

}  // namespace lapidary
