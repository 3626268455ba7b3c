#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "configs/enum_names.h"
#include "configs/mesh.h"
#include "worker/engine/engine.h"

namespace lapidary {

/// `automatic`: generation_config.json decides what the user does not; `none`: it is not read.
enum class GenerationConfigUse { automatic, none };
template <>
struct EnumNames<GenerationConfigUse> {
  static constexpr std::array kNames{"auto", "none"};
};

/// The options that every command which runs a model has; their table is in engine_table.h.
struct EngineFlags {
  EngineOptions engine;
  GenerationConfigUse generation_config = GenerationConfigUse::automatic;
  int image_workers = 0;       // threads of a rank that read pictures; 0: its share of the cores, at most 8
  double image_memory_gb = 0;  // of pictures, a process; 0: half of what the host has left
  Mesh mesh{0, 1, 1, 0};       // tp 0: what the other parts leave of the job's processes
};
/// With `only`, the options of these names.
void add_engine_flags(CLI::App& command, EngineFlags& flags, const std::vector<std::string>& only = {});
/// Of commands that run a whole dataset or a service: replicas and vision lanes.
void add_replica_flags(CLI::App& command, EngineFlags& flags, const std::vector<std::string>& only = {});

/// The flags of both as a command line says them, for a process that is to be built alike.
std::vector<std::string> arguments_of(EngineFlags flags);
/// What all ranks of a job must have alike beside the mesh: names of options and their values, and the
/// model's fingerprint.
std::vector<std::pair<std::string, std::string>> agreement_of(EngineFlags flags);
/// What of the options decides records, where it is not the default: names and values, for a job's
/// description.
std::vector<std::pair<std::string, std::string>> kept_of(EngineFlags flags);

/// The mesh over this many processes. Throws a sentence with both numbers where it does not fit them.
Mesh mesh_of(const EngineFlags& flags, int processes);

/// The job's processes as one tensor-parallel group, for `command`. Throws a sentence with both numbers where
/// --tp asks for another number than mpirun started, and where there is to be more than one stage.
std::unique_ptr<Communicator> start_ranks(const EngineFlags& flags, const char* command);

}  // namespace lapidary
