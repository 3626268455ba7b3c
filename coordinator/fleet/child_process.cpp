#include "coordinator/fleet/child_process.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "configs/error.h"
#include "configs/wire/heartbeat_monitor.h"
#include "coordinator/fleet/session.h"

namespace lapidary {
namespace {

using boost::system::error_code;

constexpr size_t kLongestLine = size_t{64} << 10;
constexpr std::chrono::milliseconds kSweepPause{20};
constexpr int kSweeps =
    500;  // ten seconds: a process that the kernel does not let go is not waited for any longer
constexpr int kLastReads = 256;  // more than a pipe holds; one that left the session may write for ever

/// A descriptor that can be read once the process has ended.
int open_pidfd(pid_t pid) {
  const int descriptor = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (descriptor < 0) {
    const int error = errno;
    ::kill(pid, SIGKILL);
    fail("a process cannot be watched (pidfd_open, Linux 5.3): ", std::strerror(error));
  }
  return descriptor;
}

std::string how_it_ended(int status) {
  if (WIFEXITED(status)) return cat("exit code ", WEXITSTATUS(status));
  return cat("signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")");
}

}  // namespace

ChildProcess::ChildProcess(boost::asio::io_context& io, const Spawned& spawned, Events events)
    : pid_(spawned.pid),
      life_(io, open_pidfd(spawned.pid)),
      output_(io, spawned.output),
      grace_(io),
      sweeping_(io),
      events_(std::move(events)) {
  output_.non_blocking(true);
}

void ChildProcess::begin() {
  read();
  life_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                   [self = shared_from_this()](const error_code& error) {
                     if (!error && !self->is_over_) self->first_ended();
                   });
}

/// Waits by Asio but reads by itself: what Asio had read already would be lost with a handler that comes
/// after the end.
void ChildProcess::read() {
  output_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](const error_code& error) {
                       if (error || self->is_over_) return;
                       const ssize_t size = self->read_some();
                       if (!self->is_over_ && (size > 0 || (size < 0 && errno == EAGAIN))) self->read();
                     });
}

ssize_t ChildProcess::read_some() {
  std::array<char, 4096> bytes;
  const ssize_t size = ::read(output_.native_handle(), bytes.data(), bytes.size());
  if (size > 0) take({bytes.data(), static_cast<size_t>(size)});
  return size;
}

void ChildProcess::take(std::string_view bytes) {
  for (const char c : bytes) {
    if (c != '\n') line_ += c;
    if (c == '\n' || line_.size() == kLongestLine) events_.line(std::exchange(line_, {}));
    if (is_over_) return;  // a callback may destroy it
  }
}

void ChildProcess::end(double grace_seconds) {
  if (is_over_ || std::exchange(is_ending_, true)) return;
  ::kill(pid_, SIGTERM);
  grace_.expires_after(nanoseconds_of(grace_seconds));
  grace_.async_wait([self = shared_from_this()](const error_code& error) {
    if (!error && !self->is_over_) kill_session(self->pid_);
  });
}

void ChildProcess::first_ended() {
  grace_.cancel();
  sweep();
}

/// The first process is not waited for before all others are gone: until then its number, which names the
/// session, cannot become another's.
void ChildProcess::sweep() {
  if (kill_session(pid_) == 0 || ++sweeps_ > kSweeps) return finish();
  sweeping_.expires_after(kSweepPause);
  sweeping_.async_wait([self = shared_from_this()](const error_code& error) {
    if (!error && !self->is_over_) self->sweep();
  });
}

void ChildProcess::finish() {
  for (int i = 0; i < kLastReads && !is_over_ && read_some() > 0; ++i) {
  }
  if (!is_over_ && !line_.empty()) events_.line(std::exchange(line_, {}));
  if (std::exchange(is_over_, true)) return;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  output_.close();
  life_.close();
  events_.ended(how_it_ended(status));
}

void ChildProcess::destroy() {
  if (std::exchange(is_over_, true)) return;
  grace_.cancel();
  sweeping_.cancel();
  output_.close();
  life_.close();
  while (kill_session(pid_) > 0 && ++sweeps_ <= kSweeps) std::this_thread::sleep_for(kSweepPause);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace lapidary
