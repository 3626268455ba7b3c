#include "coordinator/cli/engine.h"

#include <algorithm>

#include "configs/error.h"
#include "coordinator/cli/engine_table.h"
#include "coordinator/records/fingerprint.h"
#include "sharding/comm/launch_environment.h"

namespace lapidary {
namespace {

template <class Visitor>
Visitor visited(EngineFlags& flags, Visitor visitor) {
  visit_engine_options(flags, visitor);
  visit_replica_options(flags, visitor);
  return visitor;
}

}  // namespace

void add_engine_flags(CLI::App& command, EngineFlags& flags, const std::vector<std::string>& only) {
  FlagVisitor add(command, only);
  visit_engine_options(flags, add);
}

void add_replica_flags(CLI::App& command, EngineFlags& flags, const std::vector<std::string>& only) {
  FlagVisitor add(command, only);
  visit_replica_options(flags, add);
}

std::vector<std::string> arguments_of(EngineFlags flags) {
  flags.mesh.tp = std::max(1, flags.mesh.tp);
  return visited(flags, ArgumentVisitor()).arguments;
}

std::vector<std::pair<std::string, std::string>> agreement_of(EngineFlags flags) {
  auto values = visited(flags, ComparedVisitor{&OptionRow::agreed}).values;
  values.emplace_back("model", fingerprint_of_model(flags.engine.model));
  return values;
}

std::vector<std::pair<std::string, std::string>> kept_of(EngineFlags flags) {
  EngineFlags defaults;
  const auto usual = visited(defaults, ComparedVisitor{&OptionRow::kept}).values;
  std::vector<std::pair<std::string, std::string>> changed;
  for (auto& value : visited(flags, ComparedVisitor{&OptionRow::kept}).values)
    if (std::find(usual.begin(), usual.end(), value) == usual.end()) changed.push_back(std::move(value));
  return changed;
}

Mesh mesh_of(const EngineFlags& flags, int processes) {
  Mesh mesh = flags.mesh;
  if (mesh.tp == 0)  // too few or an uneven number: check_mesh says so
    mesh.tp =
        std::max(1, (processes / std::max(1, mesh.replicas) - mesh.vision_ranks) / std::max(1, mesh.pp));
  check_mesh(mesh, processes);
  return mesh;
}

std::unique_ptr<Communicator> start_ranks(const EngineFlags& flags, const char* command) {
  if (flags.mesh.pp != 1)
    fail("--pp is ", flags.mesh.pp, ", but `lapidary ", command,
         "` runs the model as one stage: use --tp, or see every stage's part of it with `lapidary inspect`");
  auto comm = started_by_mpi() ? make_mpi() : make_solo();
  if (flags.mesh.tp > 0 && flags.mesh.tp != comm->size())
    fail("--tp is ", flags.mesh.tp, ", but ", comm->size(),
         comm->size() == 1 ? " process was" : " processes were", " started; run it as: mpirun -np ",
         flags.mesh.tp, " lapidary …");
  return comm;
}

}  // namespace lapidary
