#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "configs/hostfile.h"
#include "coordinator/cli/engine.h"
#include "coordinator/fleet/fleet.h"

namespace lapidary {

/// How the replicas of a job are started: a process tree each, with all of the job's settings, which they
/// have to share.
class ReplicaStarter {
 public:
  /// `hostfile`: empty: this host alone.
  ReplicaStarter(const EngineFlags& flags, const Mesh& mesh, std::string token,
                 const std::filesystem::path& hostfile);

  /// Starts a mpirun for each replica on its hosts; where a replica is one rank of this host, that rank
  /// alone.
  LauncherOptions launcher(std::vector<std::string> endpoints) const;
  /// How a user starts the workers of a replica.
  std::string by_hand(const std::vector<std::string>& endpoints) const;

 private:
  std::vector<std::string> program(const std::string& path, const std::string& replica,
                                   const std::vector<std::string>& endpoints) const;
  std::vector<std::string> command(int replica, const std::vector<std::string>& endpoints) const;

  const EngineFlags flags_;
  const Mesh mesh_;
  const std::string token_;
  std::vector<std::vector<HostSlots>> hosts_;  // of each replica; empty: this host
};

/// What a fleet has to know of the job, whoever asks it: versions, settings, token, layout and deadlines.
/// `listen`: ADDRESS:PORT at which workers join that somebody else starts; empty: any port.
FleetOptions fleet_options(const EngineFlags& flags, const ModelConfig& config, const Mesh& mesh,
                           const std::string& token, bool local, const std::string& listen,
                           double step_deadline_seconds);

/// Started without end, ranks would leave the host to nobody else. More than cores are slow but fine. Throws
/// a sentence.
void check_local_ranks(const Mesh& mesh);

}  // namespace lapidary
