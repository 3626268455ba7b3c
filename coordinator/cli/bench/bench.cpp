#include "coordinator/cli/bench/bench.h"

namespace lapidary {

void add_bench_command(CLI::App& app, SelectedCommand& chosen) {
  CLI::App& bench = *app.add_subcommand(
      "bench", "Measure this machine: each result is checked first, each figure stands beside its limit");
  bench.require_subcommand(1);
  add_bench_kernels(bench, chosen);
  add_bench_model(bench, chosen);
  add_bench_device(bench, chosen);
  add_bench_ranks(bench, chosen);
  add_bench_load(bench, chosen);
  add_bench_images(bench, chosen);
  add_bench_scheduler(bench, chosen);
  add_bench_report(bench, chosen);
}

}  // namespace lapidary
