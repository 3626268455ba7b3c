#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "coordinator/fleet/spawn.h"

namespace lapidary {

/// A process and all that it starts on this host: one session, which ends as a whole. On the io_context's one
/// thread.
class ChildProcess : public std::enable_shared_from_this<ChildProcess> {
 public:
  struct Events {
    std::function<void(const std::string& line)> line;  // of its output
    /// Once, and last; nothing of the session is left then. "exit code 1", "signal 9 (Killed)".
    std::function<void(const std::string& how)> ended;
  };

  ChildProcess(boost::asio::io_context& io, const Spawned& spawned, Events events);
  /// begin() and until `ended` it lives by itself.
  void begin();
  /// SIGTERM to the first process, which is to end the others; SIGKILL to all when that takes too long.
  void end(double grace_seconds);
  /// Kills all and waits until they are gone (some seconds at most); no callbacks any more.
  void destroy();

 private:
  void read();
  ssize_t read_some();
  void take(std::string_view bytes);
  void first_ended();
  void sweep();
  void finish();

  pid_t pid_;
  boost::asio::posix::stream_descriptor life_, output_;
  boost::asio::steady_timer grace_, sweeping_;
  Events events_;
  std::string line_;  // begun
  int sweeps_ = 0;
  bool is_ending_ = false;
  bool is_over_ = false;
};

}  // namespace lapidary
