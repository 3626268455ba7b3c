#include <cstdio>
#include <cstring>

#include "configs/error.h"
#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/bench/report.h"
#include "coordinator/cli/engine.h"
#include "coordinator/cli/option_table.h"
#include "kernels/cpu/probe.h"
#include "kernels/device_probe.h"
#include "worker/engine/device.h"

namespace lapidary {
namespace {

struct DeviceBench {
  EngineFlags flags;
  FigureFile figures;
  double gigabytes = 8;
};

void print(const DeviceBench& bench, const Figure& f) {
  std::printf("%-32s %12.2f %s\n", f.what.c_str(), f.value, f.unit.c_str());
  bench.figures.add(f);
}

void host_rates(const DeviceBench& bench, Backend& backend) {
  const auto bytes =
      std::max<size_t>(size_t{1} << 20, static_cast<size_t>(bench.gigabytes * 1e9) >> 18 << 18);
  const Buffer from = backend.allocate(bytes), to = backend.allocate(bytes);
  std::memset(from.get(), 1, bytes);
  const double read = cpu::read_bandwidth(backend.threads(), from.get(), bytes);
  constexpr int64_t kPiece = 1 << 20;
  const double copy = median_seconds(5, [&] {
    backend.threads().parallel_for(static_cast<int64_t>(bytes), kPiece, [&](int64_t begin, int64_t end) {
      std::memcpy(to.get() + begin, from.get() + begin, static_cast<size_t>(end - begin));
    });
  });
  if (std::memcmp(to.get(), from.get(), bytes) != 0) fail("the check failed: the copy differs");
  print(bench, {.what = "memory read", .value = read / 1e9, .unit = "GB/s"});
  print(bench, {.what = "memory copied (read + write)",
                .value = 2 * static_cast<double>(bytes) / copy / 1e9,
                .unit = "GB/s"});
}

void gpu_rates(const DeviceBench& bench, Backend& backend) {
  const size_t bytes = std::min(static_cast<size_t>(bench.gigabytes * 1e9), backend.free_memory() / 2);
  const DeviceRates rates = measure_device(backend, bytes);
  print(bench, {.what = "memory read", .value = rates.read / 1e9, .unit = "GB/s"});
  print(bench, {.what = "memory copied (read + write)", .value = rates.copy / 1e9, .unit = "GB/s"});
  print(bench, {.what = "pinned memory to the device", .value = rates.upload / 1e9, .unit = "GB/s"});
  print(bench, {.what = "the device to pinned memory", .value = rates.download / 1e9, .unit = "GB/s"});
  print(bench, {.what = "between two kernels of a graph", .value = rates.boundary * 1e6, .unit = "us"});
  if (rates.dependent_boundary > 0)
    print(bench, {.what = "the same, started early", .value = rates.dependent_boundary * 1e6, .unit = "us"});
  // Well past what launches cost; random numbers.
  constexpr int64_t kSide = 8192;
  const double operations = 2.0 * kSide * kSide * kSide;
  print(bench, {.what = "bf16 product of 8192^3, library",
                .value = operations / library_product_seconds(backend, kSide, kSide, kSide) / 1e12,
                .unit = "TFLOP/s"});
}

int run_device(const DeviceBench& bench) {
  ThreadPool threads(decoder_threads(bench.flags.engine));
  const auto backend = make_backend(bench.flags.engine, threads);
  std::printf("# %s, over %.3g GB of its memory\n", backend->name().c_str(), bench.gigabytes);
  if (backend->on_host())
    host_rates(bench, *backend);
  else
    gpu_rates(bench, *backend);
  return 0;
}

}  // namespace

void add_bench_device(CLI::App& bench, SelectedCommand& chosen) {
  auto options = std::make_shared<DeviceBench>();
  CLI::App& command = *bench.add_subcommand("device", "The limits of a device that figures stand beside");
  add_engine_flags(command, options->flags, {"device", "threads"});
  command.add_option("--gigabytes", options->gigabytes, "Of memory that is read and copied")
      ->check(between(0.001, 64.0))
      ->capture_default_str();
  add_figure_flags(command, options->figures);
  when_selected(command, chosen, [options] { return run_device(*options); });
}

}  // namespace lapidary
