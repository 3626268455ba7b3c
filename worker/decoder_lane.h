#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

#include "configs/wire.pb.h"
#include "worker/recorder.h"

namespace lapidary {

/// Runs a rank's steps in the order of their numbers, on the thread that calls run(): the one that makes all
/// calls of the communicator.
class DecoderLane {
 public:
  struct Parts {
    std::function<wire::StepDone(const wire::Step&)> run;
    std::function<void(wire::StepDone)> done;  // after each step, on run()'s thread
    /// Called while no step waits: moves on messages under way, and says whether there are any left. They
    /// would stand still if this thread just slept.
    std::function<bool()> progress;
  };

  DecoderLane(Parts parts, Recorder& recorder);

  /// From any thread. A step that does not follow the last one is a std::logic_error.
  void add(wire::Step step);
  /// From any thread: nothing follows what was added; run() returns after it.
  void finish();
  /// From any thread: run() returns after the step that is under way; steps that wait are dropped.
  void stop();

  /// Runs steps until one says stop, or until finish() or stop(). What a step throws comes through.
  void run();

 private:
  bool next(wire::Step& step);
  void wait(std::unique_lock<std::mutex>& lock);

  Parts parts_;
  Recorder& recorder_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<wire::Step> steps_;
  uint64_t added_ = 0;  // number of the newest step
  bool finishing_ = false;
  bool stopping_ = false;
};

}  // namespace lapidary
