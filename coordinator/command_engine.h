#pragma once

#include <CLI/CLI.hpp>
#include <memory>

#include "worker/engine.h"

namespace lapidary {

/// The options that every command which runs a model has.
struct EngineFlags {
  EngineOptions engine;
  int tp = 0;  // 0: all processes of the job
};
void add_engine_flags(CLI::App& command, EngineFlags& flags);

/// The job's processes as one tensor-parallel group. Throws a sentence with both numbers where --tp asks for
/// another number than mpirun started.
std::unique_ptr<Communicator> start_ranks(const EngineFlags& flags);

}  // namespace lapidary
