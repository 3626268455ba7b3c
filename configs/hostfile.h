#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lapidary {

/// Ranks that one host takes.
struct HostSlots {
  std::string host;
  int slots = 1;
  bool operator==(const HostSlots&) const = default;
};

/// An Open MPI hostfile: "host slots=4" a line, # begins a comment, no slots means one, a host named again
/// adds to what it has. Throws Error with the line's number.
std::vector<HostSlots> parse_hostfile(const std::string& text, const std::string& name);
std::vector<HostSlots> read_hostfile(const std::filesystem::path& path);

/// Which hosts each replica runs on: ranks fill the hosts in order, replica after replica. Throws Error where
/// there are fewer slots than ranks.
std::vector<std::vector<HostSlots>> deal_hosts(const std::vector<HostSlots>& hosts, int replicas,
                                               int ranks_each);

}  // namespace lapidary
