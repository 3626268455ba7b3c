#include "coordinator/cli/worker.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "configs/error.h"
#include "configs/failure_text.h"
#include "configs/version.h"
#include "coordinator/cli/commands.h"
#include "coordinator/telemetry/messages.h"
#include "kernels/cpu/isa/detect.h"
#include "sharding/comm/launch_environment.h"
#include "worker/control/parent_death.h"
#include "worker/engine/device.h"
#include "worker/engine/memory_plan.h"
#include "worker/lanes/worker.h"

namespace lapidary {
namespace {

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

wire::Hello hello_of(const EngineFlags& flags, const Mesh& mesh, const MeshCoord& coord,
                     const std::string& token) {
  wire::Hello hello;
  hello.set_version(program_version());
  for (const auto& [name, value] : agreement_of(flags)) {
    wire::Setting& setting = *hello.add_settings();
    setting.set_name(name);
    setting.set_value(value);
  }
  hello.set_computes_with(uses_gpu(flags.engine) ? "cuda" : cpu::choose_isa(flags.engine.isa).name);
  hello.set_token(token);
  hello.mutable_mesh()->set_tp(mesh.tp);
  hello.mutable_mesh()->set_pp(mesh.pp);
  hello.mutable_mesh()->set_replicas(mesh.replicas);
  hello.mutable_mesh()->set_vision_ranks(mesh.vision_ranks);
  hello.set_replica(coord.replica);
  hello.set_rank(coord.rank);
  hello.set_pid(::getpid());
  hello.set_host(host_name());
  return hello;
}

struct WorkerFlags {
  EngineFlags engine;
  std::string coordinator;
  int replica = 0;
};

std::vector<std::string> endpoints_of(const std::string& list) {
  std::vector<std::string> endpoints;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    if (end > begin) endpoints.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  if (endpoints.empty()) fail("--coordinator names nobody");
  return endpoints;
}

int run_worker_command(const WorkerFlags& flags) {
  die_with_parent();
  const std::string token = token_from_environment();
  if (token.empty()) fail("a worker needs the job's token in the environment, as ", kTokenVariable);
  const auto comm = started_by_mpi() ? make_mpi() : make_solo();
  Mesh mesh = flags.engine.mesh;
  mesh.tp = std::max(1, mesh.tp);
  if (comm->size() != mesh.replica_ranks())
    fail("a replica of --tp ", mesh.tp, " x --pp ", mesh.pp, " + --vision-ranks ", mesh.vision_ranks, " has ",
         mesh.replica_ranks(), " ranks, but ", comm->size(),
         comm->size() == 1 ? " process was" : " processes were", " started");
  if (flags.replica < 0 || flags.replica >= mesh.replicas)
    fail("--replica is ", flags.replica, ", but there are ", mesh.replicas, " (--replicas)");
  const MeshCoord coord = coord_of(mesh, flags.replica * mesh.replica_ranks() + comm->rank());
  try {
    const auto link = join_job(flags.engine, mesh, coord, {endpoints_of(flags.coordinator), token});
    work(flags.engine, mesh, coord, *comm, *link, false);
  } catch (const std::exception& e) {
    // The others may wait for this rank in the middle of a step; nothing but their end helps.
    say_last(cat("lapidary worker: rank ", comm->rank(), ": ", failure_text(e)));
    std::_Exit(1);
  }
  return 0;
}

}  // namespace

void say_last(const std::string& why) {
  constexpr double kSaying = 5;  // seconds
  Messages messages;
  messages.say(why + "\n");
  messages.flush(kSaying);
}

std::string token_from_environment() {
  const char* token = std::getenv(kTokenVariable);
  return token != nullptr ? token : "";
}

void check_coord(const EngineFlags& flags, const ModelConfig& config, const Mesh& mesh,
                 const MeshCoord& coord) {
  stage_part_of(config, mesh, coord, flags.engine.pp_layers);
  if (coord.decodes()) PaliGemma::plan_for(config, coord.tp_rank, mesh.tp);
}

std::unique_ptr<ControlLink> join_job(const EngineFlags& flags, const Mesh& mesh, const MeshCoord& coord,
                                      const Invitation& invitation, double seconds) {
  ControlLinkOptions options;
  options.connect_seconds = seconds;
  options.endpoints = invitation.endpoints;
  options.hello = hello_of(flags, mesh, coord, invitation.token);
  return std::make_unique<ControlLink>(options);
}

int64_t bytes_of_images(const EngineFlags& flags) {
  constexpr double kBytesPerGb = 1e9, kMost = 1e15;
  return static_cast<int64_t>(std::ceil(std::min(flags.image_memory_gb * kBytesPerGb, kMost)));
}

void work(const EngineFlags& flags, const Mesh& mesh, const MeshCoord& coord, Communicator& replica,
          ControlLink& link, bool silent) {
  WorkerOptions options;
  options.engine = flags.engine;
  options.read_threads = flags.image_workers;
  options.image_memory_bytes = bytes_of_images(flags);
  const ModelConfig config = read_model_config(flags.engine.model);
  Worker worker(options, config, replica, mesh, coord, link, [silent, coord](const std::string& why) {
    // A coordinator that has ended has said why, or mpirun has.
    const bool unsaid = why.find(kSilent) != why.npos;
    if (!silent || unsaid)
      say_last(cat("lapidary ", silent ? "caption" : "worker", ": replica ", coord.replica, " rank ",
                   coord.rank, ": ", why));
    std::_Exit(1);
  });
  worker.run();
}

void add_worker_command(CLI::App& app, SelectedCommand& chosen) {
  auto flags = std::make_shared<WorkerFlags>();
  CLI::App& command =
      *app.add_subcommand("worker", "One rank of a replica; `lapidary caption` starts them by itself");
  add_engine_flags(command, flags->engine);
  add_replica_flags(command, flags->engine);
  command
      .add_option("--coordinator", flags->coordinator,
                  "HOST:PORT of the coordinator, or several with commas between")
      ->required();
  command.add_option("--replica", flags->replica, "Which of the replicas this process is a rank of, from 0")
      ->capture_default_str();
  command.footer(
      "By hand: LAPIDARY_TOKEN=… mpirun -np 2 lapidary worker --coordinator HOST:PORT --replica 0 --model "
      "DIR --tp 2 …, with\n"
      "the flags of the coordinator (`lapidary caption --listen ADDRESS:PORT …`), which refuses a worker "
      "with another model.");
  when_selected(command, chosen, [flags] { return run_worker_command(*flags); });
}

}  // namespace lapidary
