#pragma once

#include "configs/wire/wire.pb.h"

namespace lapidary {

/// Runs a rank's steps in order, one or several in flight. On one thread, which makes all calls of the rank's
/// communicators.
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;
  /// Starts the next step. It may be done when this returns, or be the device's to do.
  virtual void start(const wire::Step& step) = 0;
  /// Whether the oldest step in flight is done, so that finish() would not wait.
  virtual bool ready() = 0;
  /// Waits for the oldest step in flight.
  virtual wire::StepDone finish() = 0;
  /// Moves on messages to other ranks that are under way, and says whether there are any left. They would
  /// stand still if the thread just slept.
  virtual bool progress() = 0;
};

}  // namespace lapidary
