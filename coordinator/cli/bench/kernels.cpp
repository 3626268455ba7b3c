#include "coordinator/cli/bench/kernels.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "configs/error.h"
#include "coordinator/cli/bench/onednn.h"
#include "coordinator/cli/option_table.h"
#include "kernels/cpu/isa/detect.h"
#include "kernels/cpu/probe.h"
#include "kernels/device_probe.h"
#include "worker/engine/device.h"

namespace lapidary {
namespace {

/// One weight [n, k] of a model; goals are shares of the limit.
struct Product {
  const char* what;
  int64_t k, n;
};
constexpr Product kProducts[] = {
    {"3B gate+up", 2304, 18432}, {"3B down", 9216, 2304},      {"3B qkv", 2304, 4096},
    {"3B o", 2048, 2304},        {"28B gate+up", 4608, 73728}, {"28B down", 36864, 4608},
};

Matrix make_weight(const KernelRun& run, int64_t n, int64_t k) {
  Matrix w = run.backend->make_matrix(n, k, run.dtype, SumPlan::whole(k));
  run.threads->parallel_for(n, Backend::kPackRows, [&](int64_t begin, int64_t end) {
    std::vector<float> band(static_cast<size_t>(Backend::kPackRows * k));
    for (int64_t row = begin; row < end; row += Backend::kPackRows) {
      const int64_t rows = std::min(end, row + Backend::kPackRows) - row;
      for (int64_t i = 0; i < rows * k; ++i) band[static_cast<size_t>(i)] = value_at(row * k + i);
      run.backend->pack(w, row, view(band.data(), DType::f32, rows, k));
    }
  });
  return w;
}

/// 64 elements against sums in double. The bound is that of a float32 sum of k products of numbers below one,
/// and of rounding to y's dtype (2^-9 of it).
void check_product(const KernelRun& run, Tensor y, const Matrix& w) {
  for (int sample = 0; sample < 64; ++sample) {
    const int64_t row = sample * 7919 % y.rows(), col = sample * 104729 % y.cols();
    double sum = 0, size = 0;
    for (int64_t i = 0; i < w.in; ++i) {
      const double term = static_cast<double>(rounded(value_at(row * w.in + i + 17), run.dtype)) *
                          rounded(value_at(col * w.in + i), run.dtype);
      sum += term;
      size += std::abs(term);
    }
    const double got = fetched(run, y, row)[static_cast<size_t>(col)];
    const double rounding = y.dtype == DType::bf16 ? std::abs(sum) * 0x1p-8 : 0;
    if (std::abs(sum - got) > size * static_cast<double>(w.in) * 0x1p-24 + rounding)
      fail("the check failed: element [", row, ", ", col, "] is ", got, ", not ", sum);
  }
}

/// What a product is held against: operations a second.
double product_limit(const KernelRun& run, int64_t m, const Product& product) {
  if (run.on_host()) return run.flops;
  const double operations =
      2.0 * static_cast<double>(m) * static_cast<double>(product.k) * static_cast<double>(product.n);
  return operations / library_product_seconds(*run.backend, m, product.n, product.k);
}

void print_product(const KernelRun& run, const Product& product, int64_t m, double seconds, double limit,
                   const std::string& beside) {
  const double operations =
      2.0 * static_cast<double>(m) * static_cast<double>(product.k) * static_cast<double>(product.n);
  const double bytes = static_cast<double>(product.n * product.k) * static_cast<double>(size_of(run.dtype));
  std::printf("%-12s %5lld %6lld %6lld %9.3f %9.1f %7.1f %% %7.1f %7.1f %% %8s\n", product.what,
              static_cast<long long>(m), static_cast<long long>(product.k), static_cast<long long>(product.n),
              seconds * 1e3, operations / seconds / 1e9, 100 * operations / seconds / limit,
              bytes / seconds / 1e9, 100 * bytes / seconds / run.read, beside.c_str());
  std::fflush(stdout);
  const bool few = m <= 64;  // bound by the weights' bytes
  run.bench.figures.add({.what = cat(product.what, ", ", m, " rows"),
                         .value = seconds * 1e3,
                         .unit = "ms",
                         .rate = (few ? bytes : operations) / seconds / 1e9,
                         .limit = (few ? run.read : limit) / 1e9,
                         .rate_unit = few ? "GB/s" : "GFLOP/s",
                         .limit_name = few             ? "read"
                                       : run.on_host() ? "register-only"
                                                       : "library",
                         .share = few ? bytes / seconds / run.read : operations / seconds / limit});
}

void bench_product(const KernelRun& run, const Product& product) {
  const Matrix w = make_weight(run, product.n, product.k);
  for (int64_t m : run.on_host() ? std::vector<int64_t>{1, 16, 256, 1024, 4096}
                                 : std::vector<int64_t>{1, 8, 32, 64, 272, 1040, 4112}) {
    run.backend->reserve(m, std::max(product.k, product.n));
    Workspace space(*run.backend);
    const Tensor x = numbers(run, space, m, product.k, 17),
                 y = space.make(m, product.n, run.backend->operands(run.dtype));
    run.backend->matmul(y, x, w);
    check_product(run, y, w);
    const double operations =
        2.0 * static_cast<double>(m) * static_cast<double>(product.k) * static_cast<double>(product.n);
    if (!run.on_host()) {
      const double seconds =
          time_of(run, operations, run.bench.repeats, [&] { run.backend->matmul(y, x, w); });
      print_product(run, product, m, seconds, product_limit(run, m, product), "");
      continue;
    }
    // Ours and the other library in turn, so that a machine whose speed drifts drifts for both.
    std::vector<double> ours, theirs;
    const int runs = operations > 4e11 ? 2 : run.bench.repeats;
    for (int i = 0; i < runs; ++i) {
      ours.push_back(seconds_of([&] { run.backend->matmul(y, x, w); }));
      if (const auto seconds =
              onednn_matmul_seconds(m, product.n, product.k, run.dtype == DType::bf16, run.threads->size()))
        theirs.push_back(*seconds);
    }
    char beside[32] = "-";
    if (!theirs.empty()) std::snprintf(beside, sizeof beside, "%.2f x", median(theirs) / median(ours));
    print_product(run, product, m, median(ours), run.flops, beside);
  }
}

void measure_roofline(KernelRun& run) {
  if (!run.on_host()) {
    constexpr int64_t kSide = 8192;
    run.flops = 2.0 * kSide * kSide * kSide / library_product_seconds(*run.backend, kSide, kSide, kSide);
    run.read = measure_device(*run.backend, std::min(size_t{8} << 30, run.backend->free_memory() / 2)).read;
    return;
  }
  const size_t bytes = size_t{512} << 20;
  const Buffer data = run.backend->allocate(bytes);
  std::memset(data.get(), 1, bytes);
  const cpu::Isa& isa = cpu::choose_isa(run.bench.flags.engine.isa);
  for (int i = 0; i < 5; ++i) {  // the best of a few: a limit is what the machine can do
    run.flops = std::max(run.flops, cpu::peak_tile_rate(*run.threads, isa, run.dtype));
    run.read = std::max(run.read, cpu::read_bandwidth(*run.threads, data.get(), bytes));
  }
}

int run_kernels(const KernelBench& bench) {
  KernelRun run{.threads = std::make_unique<ThreadPool>(decoder_threads(bench.flags.engine)),
                .backend = nullptr,
                .dtype = bench.dtype == "float32" ? DType::f32 : DType::bf16,
                .bench = bench};
  EngineOptions options = bench.flags.engine;
  options.prefill = PrefillMode::warps;  // attention is measured by either kernel
  run.backend = make_backend(options, *run.threads);
  measure_roofline(run);
  const bool host = run.on_host();
  std::printf("# %s, %s, %d threads; limits in this run: %.1f GFLOP/s %s, %.1f GB/s streaming read\n",
              run.backend->name().c_str(), name_of(run.dtype), run.threads->size(), run.flops / 1e9,
              host ? "register-only" : "of the library's product of 8192^3", run.read / 1e9);
  if (host)
    std::printf(
        "# goals: M >= 256: 42 %% of the register-only rate; M = 1: 85 %% of the read rate; 1.25 x oneDNN\n");
  else
    std::printf("# products: ours beside the library's fastest way at the same shape\n");
  if (bench.only != "attention") {
    std::printf("%-12s %5s %6s %6s %9s %9s %9s %7s %9s %9s\n", "product", "M", "K", "N", "ms", "GFLOP/s",
                "of limit", "GB/s", "of limit", host ? "oneDNN" : "");
    for (const Product& product : kProducts) bench_product(run, product);
  }
  if (bench.only != "products") bench_attentions(run);
  return 0;
}

}  // namespace

void add_bench_kernels(CLI::App& bench, SelectedCommand& chosen) {
  auto options = std::make_shared<KernelBench>();
  CLI::App& command = *bench.add_subcommand("kernels", "Matrix products and attention at the models' shapes");
  add_engine_flags(command, options->flags, {"threads", "device", "isa"});
  command.add_option("--only", options->only, "products or attention; both without")
      ->check(CLI::IsMember({"products", "attention"}));
  add_figure_flags(command, options->figures);
  command.add_option("--dtype", options->dtype, "Weights")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  command.add_option("--repeats", options->repeats, "Timed runs")
      ->check(between(1, 1000))
      ->capture_default_str();
  when_selected(command, chosen, [options] { return run_kernels(*options); });
}

}  // namespace lapidary
