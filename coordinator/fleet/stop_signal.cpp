#include "coordinator/fleet/stop_signal.h"

#include <pthread.h>
#include <unistd.h>

#include <ctime>
#include <initializer_list>

namespace lapidary {
namespace {

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  return set;
}

}  // namespace

StopSignal::StopSignal() {
  const sigset_t blocked = set_of({SIGINT, SIGTERM, SIGPIPE});
  pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  thread_ = std::thread([this] { wait(); });
}

StopSignal::~StopSignal() {
  closing_ = true;
  pthread_kill(thread_.native_handle(), SIGTERM);  // to this thread alone
  thread_.join();
  const sigset_t broken_pipe = set_of({SIGPIPE});
  const timespec at_once{};
  sigtimedwait(&broken_pipe, nullptr, &at_once);  // one that waited would end the process now
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void StopSignal::wait() {
  const sigset_t awaited = set_of({SIGINT, SIGTERM});
  for (int signal = 0; sigwait(&awaited, &signal) == 0;) {
    if (closing_) return;
    // Past destructors on purpose: other threads are in the middle of their work.
    if (!deferred_ || caught_ != 0) ::_exit(exit_code_of_signal(signal));
    if (caught_ == 0) caught_ = signal;
  }
}

}  // namespace lapidary
