#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/cli/engine.h"
#include "coordinator/schedule/scheduler_types.h"
#include "coordinator/serve/api_server.h"

namespace lapidary {

/// What the command line of `lapidary serve` says.
struct ServeOptions {
  EngineFlags flags;
  std::filesystem::path tokenizer;  // empty: the model's
  std::vector<std::string> names;   // that requests may call the model by; empty: its folder's
  std::string engine = "fleet";     // or "fake:FILE"
  ApiServerOptions api;
  std::filesystem::path api_key_file, hostfile, mask_decoder;
  std::string wait_for_workers;  // ADDRESS:PORT
  Mode mode = Mode::latency;
  int64_t layer_group = 0, steps_ahead = 0;
  double step_deadline_seconds = 300, drain_delay_seconds = 0, drain_timeout_seconds = 60;
  bool quiet = false;
};

/// The options that are serve's own.
void add_serve_options(CLI::App& command, ServeOptions& options);

}  // namespace lapidary
