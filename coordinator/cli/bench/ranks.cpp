#include <cstdio>

#include "configs/error.h"
#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/bench/report.h"
#include "coordinator/cli/engine.h"
#include "coordinator/cli/option_table.h"
#include "sharding/comm/launch_environment.h"
#include "worker/engine/device.h"

namespace lapidary {
namespace {

struct RanksBench {
  EngineFlags flags;
  FigureFile figures;
  int repeats = 50;
};

/// Bytes of float32 that every rank holds and all get the sum of: a few numbers, what decode steps add up,
/// and a prefill of 4096 rows of 2304 columns.
constexpr int64_t kSizes[] = {8, 4096, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 36 << 20};

/// Every rank gives whole numbers, whose sum is exact.
void check_sum(const std::vector<float>& sum, int ranks) {
  const float want = static_cast<float>(ranks * (ranks + 1) / 2);
  for (size_t i = 0; i < sum.size(); ++i)
    if (sum[i] != want * static_cast<float>(i % 7))
      fail("the check failed: element ", i, " of a sum is ", sum[i]);
}

/// Each rank gives one block; they are added from left to right.
SumTree::Finish one_block_a_rank(int ranks) {
  SumTree::Finish finish{std::vector<int>(static_cast<size_t>(ranks), 1),
                         std::vector<int>(static_cast<size_t>(ranks), 1)};
  finish.merges.front() = 0;
  return finish;
}

double time_sum(DeviceComm& comm, Backend& backend, int64_t bytes, int repeats) {
  const int64_t cols = std::min<int64_t>(bytes / 4, 2304), rows = bytes / 4 / cols;
  Workspace space(backend);
  const Tensor mine = space.make(rows, cols), sum = space.make(rows, cols);
  std::vector<float> numbers(static_cast<size_t>(rows * cols)), seen(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<float>(comm.rank() + 1) * static_cast<float>(i % 7);
  const Tensor host = view(numbers.data(), DType::f32, rows, cols);
  const SumTree::Finish finish = one_block_a_rank(comm.size());
  backend.copy(mine, host);
  comm.all_reduce(sum, mine, finish);
  backend.synchronize();
  backend.copy(view(seen.data(), DType::f32, rows, cols), sum);
  agree(comm.host(), [&] { check_sum(seen, comm.size()); });
  comm.host().barrier();
  return seconds_of([&] {
           for (int i = 0; i < repeats; ++i) comm.all_reduce(sum, mine, finish);
           backend.synchronize();
         }) /
         repeats;
}

int run_ranks(const RanksBench& bench) {
  const auto host = started_by_mpi() ? make_mpi() : make_solo();
  ThreadPool threads(decoder_threads(bench.flags.engine));
  std::unique_ptr<Backend> backend;
  agree(*host, [&] { backend = make_backend(bench.flags.engine, threads); });
  Watchdog watchdog({}, [&] { return backend->made_progress(); });
  const auto rows = make_device_comm(*host, *backend, watchdog, bench.flags.engine);
  DeviceComm& comm = *rows;
  if (comm.rank() == 0)
    std::printf("# sums of float32 over %d ranks, %s\n%12s %12s %12s\n", comm.size(), backend->name().c_str(),
                "bytes", "us", "GB/s");
  for (const int64_t bytes : kSizes) {
    const double seconds =
        time_sum(comm, *backend, bytes, bytes > 1 << 20 ? std::min(bench.repeats, 10) : bench.repeats);
    if (comm.rank() > 0) continue;
    std::printf("%12lld %12.1f %12.3f\n", static_cast<long long>(bytes), seconds * 1e6,
                static_cast<double>(bytes) / seconds / 1e9);
    bench.figures.add({.what = cat("sum over ", comm.size(), " ranks, ", bytes, " bytes"),
                       .value = seconds * 1e6,
                       .unit = "us",
                       .rate = static_cast<double>(bytes) / seconds / 1e9,
                       .rate_unit = "GB/s"});
  }
  return 0;
}

}  // namespace

void add_bench_ranks(CLI::App& bench, SelectedCommand& chosen) {
  auto options = std::make_shared<RanksBench>();
  CLI::App& command =
      *bench.add_subcommand("ranks", "Sums over the ranks that mpirun starts, from 8 bytes to 36 MiB");
  add_engine_flags(command, options->flags, {"device", "threads", "deterministic", "test-shared-gpu"});
  command.add_option("--repeats", options->repeats, "Sums of each size; of the largest at most 10")
      ->check(between(1, 100000))
      ->capture_default_str();
  add_figure_flags(command, options->figures);
  when_selected(command, chosen, [options] { return run_ranks(*options); });
}

}  // namespace lapidary
