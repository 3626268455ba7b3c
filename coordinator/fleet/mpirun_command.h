#pragma once

#include <string>
#include <vector>

#include "configs/hostfile.h"

namespace lapidary {

struct MpirunOptions {
  std::string mpirun = "mpirun";
  std::vector<std::string> arguments;  // more of mpirun's own, before the program
  std::vector<std::string> variables;  // names of environment variables that ranks on other hosts get too
  std::vector<HostSlots> hosts;        // empty: this host
  bool root = false;                   // started by root, which mpirun only does when told twice
};

/// `mpirun … -np ranks program…`. Ranks are not bound to cores: two replicas on one host know nothing of each
/// other and would choose the same ones.
std::vector<std::string> mpirun_command(const MpirunOptions& options, int ranks,
                                        const std::vector<std::string>& program);

}  // namespace lapidary
