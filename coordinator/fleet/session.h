#pragma once

#include <sys/types.h>

#include <vector>

namespace lapidary {

/// The processes of a session of this host, its leader apart, that have not ended (zombies have).
std::vector<pid_t> session_members(pid_t leader);

/// SIGKILL to all of them and to the leader. Gives how many there were beside the leader.
size_t kill_session(pid_t leader);

}  // namespace lapidary
