#include "coordinator/cli/replicas.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "configs/error.h"
#include "configs/version.h"
#include "coordinator/cli/worker.h"
#include "coordinator/fleet/host_addresses.h"
#include "coordinator/fleet/mpirun_command.h"
#include "kernels/thread_pool.h"

namespace lapidary {
namespace {

/// This program, as another process would start it: a bundle's starter finds the libraries first.
std::string own_path() {
  if (const char* starter = std::getenv("LAPIDARY_STARTER")) return starter;
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) fail("cannot tell where this program is: ", error.message());
  return path.string();
}

}  // namespace

ReplicaStarter::ReplicaStarter(const EngineFlags& flags, const Mesh& mesh, std::string token,
                               const std::filesystem::path& hostfile)
    : flags_(flags), mesh_(mesh), token_(std::move(token)) {
  if (!hostfile.empty()) hosts_ = deal_hosts(read_hostfile(hostfile), mesh.replicas, mesh.replica_ranks());
}

std::vector<std::string> ReplicaStarter::program(const std::string& path, const std::string& replica,
                                                 const std::vector<std::string>& endpoints) const {
  std::string all;
  for (const std::string& endpoint : endpoints) all += (all.empty() ? "" : ",") + endpoint;
  std::vector<std::string> program{path, "worker", "--coordinator", all, "--replica", replica};
  for (std::string& argument : arguments_of(flags_)) program.push_back(std::move(argument));
  return program;
}

std::string ReplicaStarter::by_hand(const std::vector<std::string>& endpoints) const {
  std::string text = cat("mpirun -np ", mesh_.replica_ranks());
  for (const std::string& word : program("lapidary", mesh_.replicas > 1 ? "REPLICA" : "0", endpoints))
    text += " " + (word.find_first_of(" '\"$*\\") == word.npos && !word.empty() ? word : "'" + word + "'");
  return text;
}

std::vector<std::string> ReplicaStarter::command(int replica,
                                                 const std::vector<std::string>& endpoints) const {
  const auto worker = program(own_path(), std::to_string(replica), endpoints);
  if (hosts_.empty() && mesh_.replica_ranks() == 1) return worker;
  MpirunOptions mpirun;
  mpirun.variables = {kTokenVariable};
  mpirun.root = ::geteuid() == 0;
  if (!hosts_.empty()) mpirun.hosts = hosts_[static_cast<size_t>(replica)];
  return mpirun_command(mpirun, mesh_.replica_ranks(), worker);
}

LauncherOptions ReplicaStarter::launcher(std::vector<std::string> endpoints) const {
  LauncherOptions launcher;
  launcher.replicas = mesh_.replicas;
  launcher.command = [this, endpoints = std::move(endpoints)](int replica) {
    return command(replica, endpoints);
  };
  launcher.environment = {{kTokenVariable, token_}};
  return launcher;
}

FleetOptions fleet_options(const EngineFlags& flags, const ModelConfig& config, const Mesh& mesh,
                           const std::string& token, bool local, const std::string& listen,
                           double step_deadline_seconds) {
  FleetOptions fleet;
  fleet.server.version = program_version();
  fleet.server.settings = agreement_of(flags);
  fleet.server.token = token;
  fleet.server.mesh = mesh;
  fleet.server.local = local;
  fleet.server.dead_after_seconds = std::min(10.0, step_deadline_seconds);
  fleet.server.heartbeat_seconds = std::min(1.0, fleet.server.dead_after_seconds / 4);
  fleet.server.step_deadline_seconds = step_deadline_seconds;
  if (!listen.empty()) {
    const ListenAddress address = parse_listen_address(listen);
    fleet.server.address = address.address;
    fleet.server.port = address.port;
    fleet.rejoin = true;
  }
  fleet.capacity = fit_capacity(flags.engine, config, mesh);
  fleet.vocab_size = config.text.vocab_size;
  fleet.step_deadline_seconds = step_deadline_seconds;
  return fleet;
}

void check_local_ranks(const Mesh& mesh) {
  const int most = std::max(64, 16 * available_cores());
  if (mesh.world() > most)
    fail("--replicas ", mesh.replicas, " of ", mesh.replica_ranks(),
         mesh.replica_ranks() == 1 ? " rank" : " ranks", " are ", mesh.world(),
         " processes on this host, which has ", available_cores(), " cores: more than ", most,
         " are not started; give --hostfile for more hosts");
}

}  // namespace lapidary
