#include "coordinator/telemetry/messages.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr size_t kMostWaiting = 256 << 10;  // bytes: more than a screen scrolls back
constexpr auto kPause = std::chrono::milliseconds(20);

bool is_socket(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

/// O_NONBLOCK belongs to a description that other processes share (the shell, mpirun): theirs stays as it is.
int opened_anew(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !(S_ISFIFO(info.st_mode) || ::isatty(fd) == 1)) return -1;
  return ::open(cat("/proc/self/fd/", fd).c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

}  // namespace

Messages::Messages(int fd) : fd_(fd), own_(opened_anew(fd)) {}

Messages::~Messages() {
  if (own_ >= 0) ::close(own_);
}

void Messages::say(std::string_view text) {
  const std::lock_guard lock(mutex_);
  drain();
  if (waiting_.size() + text.size() > kMostWaiting) return void(++dropped_);
  waiting_ += text;
  drain();
}

void Messages::show(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (!drain()) return void(++dropped_);
  waiting_ = text;
  drain();
}

void Messages::flush(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (drain() || std::chrono::steady_clock::now() > end) return;
    }
    std::this_thread::sleep_for(kPause);
  }
}

int64_t Messages::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

/// False where something still waits.
bool Messages::drain() {
  while (true) {
    while (!waiting_.empty()) {
      const int64_t written = write_some();
      if (written == 0) return false;
      waiting_.erase(0, static_cast<size_t>(written));
    }
    if (dropped_ == told_) return true;
    waiting_ = cat("\n", dropped_ - told_, dropped_ - told_ == 1 ? " message was" : " messages were",
                   " left out while nobody read them\n");
    told_ = dropped_;
  }
}

/// Bytes that nobody will ever read (a closed pipe, a full disk) count as written.
int64_t Messages::write_some() {
  ssize_t written = -1;
  if (own_ >= 0) {
    written = ::write(own_, waiting_.data(), waiting_.size());
  } else if (is_socket(fd_)) {
    written = ::send(fd_, waiting_.data(), waiting_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  } else {
    pollfd ready{fd_, POLLOUT, 0};
    if (::poll(&ready, 1, 0) == 0) return 0;
    written = ::write(fd_, waiting_.data(), waiting_.size());
  }
  if (written >= 0) return written;
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0
                                                                   : static_cast<int64_t>(waiting_.size());
}

}  // namespace lapidary
