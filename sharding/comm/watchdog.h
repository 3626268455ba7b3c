#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace lapidary {

/// What a rank does when one of its peers is lost.
struct Rescue {
  double deadline_seconds = 300;  // seconds in which the device has to do what it is given
  double abort_seconds = 5;       // in which its communicators have to end their work
  /// Hears the sentence first, on the watchdog's thread: what the rank computes after it is nothing.
  std::function<void(const std::string& why)> lost;
  /// Ends the rank: called once the communicators have ended their work, or did not in time. A program ends
  /// its process here (the default, with code 1): what waits inside the driver ends with nothing less.
  std::function<void()> end;
};

/// Ends a rank whose collectives wait for a peer that is gone: such a wait has no end of its own. A thread of
/// its own asks all communicators for trouble and the device for progress, for the rank's thread may itself
/// wait for them.
class Watchdog {
 public:
  /// A communicator, called by one thread of the watchdog at a time.
  class Watched {
   public:
    virtual ~Watched() = default;
    /// Why it cannot go on; empty: it can.
    virtual std::string trouble() = 0;
    /// Ends what it has under way on the device. Several of a rank are told at once, each on a thread of its
    /// own: one may wait for work that stands behind the other's.
    virtual void abort() = 0;
  };

  /// made_progress: whether the device has done what it had been given at the last call
  /// (Backend::made_progress).
  Watchdog(const Rescue& rescue, std::function<bool()> made_progress);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void watch(const std::shared_ptr<Watched>& one);
  /// At a rank's end, however it came: tells all to end and waits until they have; where they do not in time
  /// the rank is ended. `idle` is called before, if the device is done: it still is not after a moment where
  /// it waits for a rank that is gone.
  void close(const std::function<void()>& idle = {});

 private:
  bool device_is_done();
  bool abort_all();
  void run();
  std::string trouble();

  const Rescue rescue_;
  const std::function<bool()> moved_on_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Watched>> watched_;
  std::chrono::steady_clock::time_point moved_at_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace lapidary
