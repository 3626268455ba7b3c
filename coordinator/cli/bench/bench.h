#pragma once

#include <CLI/CLI.hpp>

#include "coordinator/cli/commands.h"
#include "coordinator/telemetry/stopwatch.h"

namespace lapidary {

/// Sub-commands of `lapidary bench`. Each checks its result before it times, measures the machine's limit in
/// the same run, and prints the figure beside it.
void add_bench_device(CLI::App& bench, SelectedCommand& chosen);
void add_bench_images(CLI::App& bench, SelectedCommand& chosen);
void add_bench_kernels(CLI::App& bench, SelectedCommand& chosen);
void add_bench_load(CLI::App& bench, SelectedCommand& chosen);
void add_bench_model(CLI::App& bench, SelectedCommand& chosen);
void add_bench_ranks(CLI::App& bench, SelectedCommand& chosen);
void add_bench_report(CLI::App& bench, SelectedCommand& chosen);  // report, note
void add_bench_scheduler(CLI::App& bench, SelectedCommand& chosen);

}  // namespace lapidary
