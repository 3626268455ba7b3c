#pragma once

#include <CLI/CLI.hpp>

#include "coordinator/telemetry/figures.h"

namespace lapidary {

/// --figures and --label of a benchmark.
void add_figure_flags(CLI::App& command, FigureFile& file);

}  // namespace lapidary
