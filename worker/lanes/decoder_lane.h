#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

#include "configs/wire/wire.pb.h"
#include "worker/engine/step_executor.h"
#include "worker/lanes/span_recorder.h"

namespace lapidary {

/// Runs a rank's steps in the order of their numbers, on the thread that calls run(): the one that makes all
/// calls of the communicator. Where a step that was started is not done at once, because a device has it, the
/// next one is started before its end is waited for, if one is there: the device never waits for the host.
class DecoderLane {
 public:
  /// `done` is called after each step, on run()'s thread.
  using Done = std::function<void(wire::StepDone)>;
  /// Steps are numbered from last_step + 1 on.
  DecoderLane(StepExecutor& executor, SpanRecorder& recorder, Done done, uint64_t last_step = 0);

  /// From any thread. A step that does not follow the last one is a std::logic_error.
  void add(wire::Step step);
  /// From any thread: nothing follows what was added; run() returns after it.
  void finish();
  /// From any thread: run() returns after the step that is under way; steps that wait are dropped.
  void stop();

  /// Runs steps until one says stop, or until finish() or stop(). What a step throws comes through.
  void run();

 private:
  struct InFlightStep {
    uint64_t number;
    int64_t begin;
    bool prefills;
  };

  void start(const wire::Step& step);
  void finish_oldest();
  bool ends_before_next();
  bool next(wire::Step& step);
  void wait(std::unique_lock<std::mutex>& lock);

  StepExecutor& executor_;
  SpanRecorder& recorder_;
  const Done done_;
  std::deque<InFlightStep> in_flight_;  // of run()'s thread, oldest first
  int64_t last_end_ = 0;                // of the step that was done last

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<wire::Step> steps_;
  uint64_t added_;  // number of the newest step
  bool finishing_ = false;
  bool stopping_ = false;
};

}  // namespace lapidary
