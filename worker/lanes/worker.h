#pragma once

#include <functional>
#include <memory>
#include <string>

#include "configs/image_memory.h"
#include "configs/mesh.h"
#include "configs/model/model_config.h"
#include "sharding/comm/communicator.h"
#include "worker/control/control_link.h"
#include "worker/engine/engine_options.h"

namespace lapidary {

struct WorkerOptions {
  EngineOptions engine;
  int read_threads = 0;  // that read and decode pictures; 0: the rank's share of the cores, at most 8
  /// What pictures may hold; 0: half of the memory that the host has left once the model is loaded, shared by
  /// its ranks.
  int64_t image_memory_bytes = 0;
};

/// What a process of this host may hold of pictures, where `wanted` bytes are (0) not said.
ImageMemory image_memory(int64_t wanted);

/// One rank at work: loads its part of the model, then runs the steps and encodes the pictures that the
/// coordinator asks for, until it is told to stop. Many may live in one process, each with its own thread.
class Worker {
 public:
  using Lost = std::function<void(const std::string& why)>;

  /// Starts the link (its heartbeats begin) and loads. Called on every rank of the replica, by the thread
  /// that calls run(). `lost` is called on the link's thread when the coordinator is gone: a step may wait
  /// for its peers forever then, so a program ends its process there; where `lost` returns, run() ends after
  /// its step.
  ///
  /// Throws Error where the model cannot be loaded, once the coordinator was sent the sentence as a Fault. A
  /// coordinator that says stop meanwhile ends the loading, with no error. What is referred to outlives this.
  Worker(const WorkerOptions& options, const ModelConfig& config, Communicator& replica, const Mesh& mesh,
         const MeshCoord& coord, ControlLink& link, Lost lost);
  /// Reports no more; what is being read or encoded is waited for.
  ~Worker();

  /// Reports Ready, unless loading was ended by a stop, and returns once all steps that came before Stop are
  /// done, or one that says stop. Throws what any of the lanes threw, once the coordinator was sent it as a
  /// Fault: then the ranks have to be ended without another word between them.
  void run();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary
