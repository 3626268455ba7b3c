#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/fleet/restart_policy.h"

namespace boost::asio {
class io_context;
}

namespace lapidary {

struct LauncherOptions {
  int replicas = 1;
  /// The command line that starts a replica (coordinator/fleet/mpirun_command.h); asked for at each start.
  std::function<std::vector<std::string>(int replica)> command;
  /// Added to the environment, where others cannot read it as they can a command line: the token.
  std::vector<std::pair<std::string, std::string>> environment;
  double grace_seconds = 5;  // between SIGTERM and SIGKILL
  RestartRules restarts;
};

/// Called on the io_context's thread, never from within a call of the launcher. None may destroy it.
struct LauncherEvents {
  std::function<void(int replica)> started;
  /// Its process has ended, and none that it started on this host is left. "exit code 1", "signal 9
  /// (Killed)". A start follows after `seconds`; below 0: none does.
  std::function<void(int replica, const std::string& why, double seconds)> ended;
  /// A line of a replica's output, with "replica 0: " before it.
  std::function<void(const std::string& line)> line;
  /// Every replica has been given up; a sentence with the last one's reason and its last line.
  std::function<void(const std::string& why)> failed;
};

/// Starts one process a replica (mpirun), and again when it ends. A replica's processes on this host are one
/// session of the system, so that none is left when its first one is gone, however it ended. All calls on the
/// io_context's one thread, which must live as long: replicas are told to end when it does.
class Launcher {
 public:
  Launcher(boost::asio::io_context& io, LauncherOptions options, LauncherEvents events);
  /// Kills what runs, at once and without callbacks.
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  /// Starts all replicas.
  void start();
  /// All ranks of the replica are ready: this start was not fruitless.
  void ready(int replica);
  /// Ends the replica (SIGTERM; after the grace SIGKILL to all of its processes); it starts again.
  void kill(int replica);
  /// Starts nothing any more; gives what runs `patience_seconds` to end by itself, then ends it. `done` when
  /// nothing is left.
  void stop(double patience_seconds, std::function<void()> done);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // also held by what the io_context has under way
};

}  // namespace lapidary
