#pragma once

#include <atomic>
#include <csignal>
#include <thread>

namespace lapidary {

/// Ctrl-C (SIGINT) and SIGTERM as a question that work asks between two steps. A thread waits for the
/// signals, which are blocked everywhere else: made before any other thread, so that these inherit the mask.
/// Until `defer` is called a signal ends the process at once, as it would without this; afterwards it is only
/// remembered, but a second one, of either kind, ends the process. SIGPIPE is blocked too: a closed output is
/// an error of write.
///
/// At most one a process, as signals are the process's.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  void defer() { deferred_ = true; }
  /// The signal that came since, or 0.
  int caught() const { return caught_; }

 private:
  void wait();

  sigset_t before_;
  std::atomic<bool> deferred_ = false;
  std::atomic<bool> closing_ = false;
  std::atomic<int> caught_ = 0;
  std::thread thread_;
};

/// What a shell reports for a process that a signal ended.
constexpr int exit_code_of_signal(int signal) { return 128 + signal; }

}  // namespace lapidary
