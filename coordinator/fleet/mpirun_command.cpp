#include "coordinator/fleet/mpirun_command.h"

#include "configs/error.h"

namespace lapidary {

std::vector<std::string> mpirun_command(const MpirunOptions& options, int ranks,
                                        const std::vector<std::string>& program) {
  std::vector<std::string> command = {options.mpirun, "--bind-to", "none"};
  const auto add = [&](std::vector<std::string> words) {
    command.insert(command.end(), words.begin(), words.end());
  };
  if (options.root) add({"--allow-run-as-root"});
  if (options.hosts.empty()) add({"--oversubscribe"});
  std::string hosts;
  for (const HostSlots& host : options.hosts)
    hosts += cat(hosts.empty() ? "" : ",", host.host, ":", host.slots);
  if (!hosts.empty()) add({"--host", hosts});
  for (const std::string& name : options.variables) add({"-x", name});
  add(options.arguments);
  add({"-np", std::to_string(ranks)});
  add(program);
  return command;
}

}  // namespace lapidary
