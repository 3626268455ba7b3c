#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordinator/schedule/dispatcher.h"

namespace lapidary {

/// Stands for the workers of a replica: answers steps at once, with tokens that follow from request and
/// position.
class BenchWorkers {
 public:
  explicit BenchWorkers(const SchedulerConfig& config)
      : sequence_slots_(static_cast<size_t>(config.capacity.max_num_seqs())) {}

  wire::StepDone run(const wire::Step& step);

 private:
  struct Sequence {
    uint64_t request = 0;
    int64_t sampled = 0;
  };
  std::vector<Sequence> sequence_slots_;
};

/// Asks for captions, and holds what is answered against what it has to be.
class BenchClient {
 public:
  /// `requests` of one picture each: `prompt` tokens beside the image's, up to `length` new ones.
  BenchClient(int64_t requests, size_t prompt, int64_t length);

  Request request(int64_t index) const;
  /// Throws a sentence where an event is not what the request has to be answered.
  void take(const RequestOutput& event);
  int64_t ended() const { return ended_; }
  int64_t tokens() const { return tokens_; }

 private:
  std::shared_ptr<const std::vector<int32_t>> prompt_, eos_;
  int64_t length_;
  std::vector<int32_t> received_;  // a request; -1: it has ended
  int64_t ended_ = 0, tokens_ = 0;
};

/// A model on some GPUs as the simulation has it; seconds.
struct SimulatedReplica {
  std::string name;
  SchedulerConfig config;
  double decode = 0;   // a step's decodes
  double prefill = 0;  // an image
  double encode = 0;   // an image, in one vision lane
};

struct Simulated {
  double seconds = 0;      // virtual
  double coordinator = 0;  // seconds it is at work: deciding, its messages to bytes and from bytes
  uint64_t steps = 0;
  int64_t tokens = 0;
};

/// Captions `images` on so many replicas, all queued at the start. Throws where one is not answered as it has
/// to be.
Simulated simulate(const SimulatedReplica& model, int replicas, int64_t images);

}  // namespace lapidary
