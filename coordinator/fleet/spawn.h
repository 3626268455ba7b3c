#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace lapidary {

/// A process that was started; whoever has it waits for it and closes the descriptor.
struct Spawned {
  pid_t pid = -1;
  int output = -1;  // what it writes to stdout and stderr
};

/// Starts a program (found as a shell finds it) as the leader of a session of its own, with nothing to read,
/// default signals and none of this process's descriptors. The system sends it SIGTERM when this thread ends.
/// Throws Error where it cannot be started.
Spawned spawn(const std::vector<std::string>& command,
              const std::vector<std::pair<std::string, std::string>>& environment);

}  // namespace lapidary
