#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "configs/error.h"
#include "coordinator/command_bench.h"
#include "coordinator/onednn_bench.h"
#include "kernels/backend.h"
#include "kernels/cpu/detect.h"
#include "kernels/cpu/probe.h"

namespace lapidary {
namespace {

struct KernelBench {
  int threads = 0;
  std::string isa = "auto";
  std::string dtype = "bfloat16";
  int repeats = 5;
};

/// One weight [n, k] of a model; goals are shares of the limit.
struct Product {
  const char* what;
  int64_t k, n;
};
constexpr Product kProducts[] = {
    {"3B gate+up", 2304, 18432}, {"3B down", 9216, 2304},      {"3B qkv", 2304, 4096},
    {"3B o", 2048, 2304},        {"28B gate+up", 4608, 73728}, {"28B down", 36864, 4608},
};

/// Values in [-1, 1) that are cheap to make again.
float value_at(int64_t i) {
  return static_cast<float>(static_cast<int32_t>(static_cast<uint32_t>(i) * 2654435761u)) * 0x1p-31f;
}

struct Run {
  std::unique_ptr<ThreadPool> threads;
  std::unique_ptr<Backend> backend;
  DType dtype;
  double flops = 0, read = 0;  // limits
};

float rounded(float value, DType dtype) { return dtype == DType::bf16 ? from_bf16(to_bf16(value)) : value; }

Matrix make_weight(const Run& run, int64_t n, int64_t k) {
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

/// 64 elements against sums in double. The bound is that of a float32 sum of k products of numbers below one.
void check_product(const Run& run, Tensor y, Tensor x, const Matrix& w) {
  for (int sample = 0; sample < 64; ++sample) {
    const int64_t row = sample * 7919 % y.rows(), col = sample * 104729 % y.cols();
    double sum = 0, size = 0;
    for (int64_t i = 0; i < w.in; ++i) {
      const double term = static_cast<double>(rounded(x.row<float>(row)[i], run.dtype)) *
                          rounded(value_at(col * w.in + i), run.dtype);
      sum += term;
      size += std::abs(term);
    }
    const double error = std::abs(sum - y.row<float>(row)[col]);
    if (error > size * static_cast<double>(w.in) * 0x1p-24)
      fail("the check failed: element [", row, ", ", col, "] is ", y.row<float>(row)[col], ", not ", sum);
  }
}

void bench_product(const Run& run, const Product& product, int repeats) {
  const Matrix w = make_weight(run, product.n, product.k);
  for (int64_t m : {1, 16, 256, 1024, 4096}) {
    run.backend->reserve(m, product.k);
    const Buffer x_data = run.backend->allocate(static_cast<size_t>(m * product.k) * 4);
    const Buffer y_data = run.backend->allocate(static_cast<size_t>(m * product.n) * 4);
    const Tensor x = view(x_data.get(), DType::f32, m, product.k),
                 y = view(y_data.get(), DType::f32, m, product.n);
    for (int64_t i = 0; i < m * product.k; ++i) x.row<float>(0)[i] = value_at(i + 17);
    run.backend->matmul(y, x, w);
    check_product(run, y, x, w);

    // Ours and the other library in turn, so that a machine whose speed drifts drifts for both.
    std::vector<double> ours, theirs;
    const double operations =
        2.0 * static_cast<double>(m) * static_cast<double>(product.k) * static_cast<double>(product.n);
    const int runs = operations > 4e11 ? 2 : repeats;
    for (int i = 0; i < runs; ++i) {
      ours.push_back(seconds_of([&] { run.backend->matmul(y, x, w); }));
      if (const auto seconds =
              onednn_matmul_seconds(m, product.n, product.k, run.dtype == DType::bf16, run.threads->size()))
        theirs.push_back(*seconds);
    }
    const double seconds = median(ours);
    const double bytes = static_cast<double>(product.n * product.k) * static_cast<double>(size_of(run.dtype));
    std::printf("%-12s %5lld %6lld %6lld %9.2f %9.1f %7.1f %% %7.1f %7.1f %%", product.what,
                static_cast<long long>(m), static_cast<long long>(product.k),
                static_cast<long long>(product.n), seconds * 1e3, operations / seconds / 1e9,
                100 * operations / seconds / run.flops, bytes / seconds / 1e9,
                100 * bytes / seconds / run.read);
    std::printf(theirs.empty() ? "       -\n" : "  %6.2f x\n", theirs.empty() ? 0 : median(theirs) / seconds);
    std::fflush(stdout);
  }
}

/// A prefix of `rows` tokens that all see each other, as the decoder and the vision tower have it.
void bench_attention(const Run& run, const char* what, int64_t heads, int64_t group, int64_t head_dim,
                     int64_t rows, int repeats) {
  Backend& ops = *run.backend;
  const KvShape shape{heads / group, head_dim, run.dtype};
  std::vector<int32_t> pages(static_cast<size_t>((rows + KvShape::kPageTokens - 1) / KvShape::kPageTokens));
  std::iota(pages.begin(), pages.end(), 0);
  const Buffer kv = ops.allocate(pages.size() * ops.kv_page_bytes(shape));
  const int64_t width = heads * head_dim, kv_width = shape.kv_heads * head_dim;
  const Buffer q_data = ops.allocate(static_cast<size_t>(rows * width) * 4);
  const Buffer k_data = ops.allocate(static_cast<size_t>(rows * kv_width) * 4);
  const Buffer out_data = ops.allocate(static_cast<size_t>(rows * width) * 4);
  const Tensor q = view(q_data.get(), DType::f32, rows, width),
               out = view(out_data.get(), DType::f32, rows, width);
  const Tensor k = view(k_data.get(), DType::f32, rows, kv_width);
  for (int64_t i = 0; i < rows * width; ++i) q.row<float>(0)[i] = value_at(i);
  for (int64_t i = 0; i < rows * kv_width; ++i) k.row<float>(0)[i] = value_at(i + 5);
  const std::vector<AttentionSpan> spans{{0, rows, 0, rows, pages}};
  AttentionArgs args;
  args.heads = heads;
  args.group = group;
  args.scale = 1 / std::sqrt(static_cast<float>(head_dim));
  ops.reserve(rows, width);
  ops.store_kv(kv.get(), shape, spans, k, k);
  ops.attention(out, q, kv.get(), shape, spans, args);

  // Row 0, head 0 by the definition, in double. bfloat16 rounds q, k, v and the probabilities by 2^-9 each.
  std::vector<double> scores, expected(static_cast<size_t>(head_dim));
  for (int64_t key = 0; key < rows; ++key) {
    double score = 0;
    for (int64_t d = 0; d < head_dim; ++d)
      score += static_cast<double>(q.row<float>(0)[d]) * k.row<float>(key)[d];
    scores.push_back(std::exp(score * args.scale));
  }
  const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
  for (int64_t key = 0; key < rows; ++key)
    for (int64_t d = 0; d < head_dim; ++d)
      expected[static_cast<size_t>(d)] += scores[static_cast<size_t>(key)] / total * k.row<float>(key)[d];
  for (int64_t d = 0; d < head_dim; ++d)
    if (std::abs(expected[static_cast<size_t>(d)] - out.row<float>(0)[d]) > 4 * 0x1p-9)
      fail("the check failed: attention gives ", out.row<float>(0)[d], ", not ",
           expected[static_cast<size_t>(d)]);

  const double seconds =
      median_seconds(repeats, [&] { ops.attention(out, q, kv.get(), shape, spans, args); });
  const double operations = 4.0 * static_cast<double>(rows * rows) * static_cast<double>(width);
  std::printf("%-20s %5lld %4lld %4lld %9.2f %9.1f %7.1f %%\n", what, static_cast<long long>(rows),
              static_cast<long long>(heads), static_cast<long long>(head_dim), seconds * 1e3,
              operations / seconds / 1e9, 100 * operations / seconds / run.flops);
}

int run_kernels(const KernelBench& bench) {
  Run run;
  run.threads = std::make_unique<ThreadPool>(bench.threads > 0 ? bench.threads : available_cores());
  run.backend = make_cpu_backend(*run.threads, bench.isa);
  run.dtype = bench.dtype == "float32" ? DType::f32 : DType::bf16;
  {
    const size_t bytes = size_t{512} << 20;
    const Buffer data = run.backend->allocate(bytes);
    std::memset(data.get(), 1, bytes);
    for (int i = 0; i < 5; ++i) {  // the best of a few: a limit is what the machine can do
      run.flops =
          std::max(run.flops, cpu::peak_tile_rate(*run.threads, cpu::choose_isa(bench.isa), run.dtype));
      run.read = std::max(run.read, cpu::read_bandwidth(*run.threads, data.get(), bytes));
    }
  }
  std::printf(
      "# %s, %s, %d threads; limits in this run: %.1f GFLOP/s register-only, %.1f GB/s streaming read\n",
      run.backend->name().c_str(), name_of(run.dtype), run.threads->size(), run.flops / 1e9, run.read / 1e9);
  std::printf(
      "# goals: M >= 256: 42 %% of the register-only rate; M = 1: 85 %% of the read rate; 1.25 x oneDNN\n");
  std::printf("%-12s %5s %6s %6s %9s %9s %9s %7s %9s %9s\n", "product", "M", "K", "N", "ms", "GFLOP/s",
              "of limit", "GB/s", "of limit", "oneDNN");
  for (const Product& product : kProducts) bench_product(run, product, bench.repeats);
  std::printf("%-20s %5s %4s %4s %9s %9s %9s\n", "attention", "rows", "A", "D", "ms", "GFLOP/s", "of limit");
  bench_attention(run, "vision 224", 16, 1, 72, 256, bench.repeats);
  bench_attention(run, "vision 896", 16, 1, 72, 4096, bench.repeats);
  bench_attention(run, "3B prefill 224", 8, 2, 256, 272, bench.repeats);
  bench_attention(run, "3B prefill 896", 8, 2, 256, 4112, bench.repeats);
  bench_attention(run, "28B prefill 896", 32, 2, 128, 4112, bench.repeats);
  return 0;
}

}  // namespace

void add_bench_kernels(CLI::App& bench, Chosen& chosen) {
  auto options = std::make_shared<KernelBench>();
  CLI::App& command = *bench.add_subcommand("kernels", "Matrix products and attention at the models' shapes");
  command.add_option("--threads", options->threads, "CPU threads; 0: the cores this process may use")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--isa", options->isa, "Instruction set")
      ->check(CLI::IsMember({"auto", "amx", "avx512-bf16", "avx512", "avx2", "portable"}))
      ->capture_default_str();
  command.add_option("--dtype", options->dtype, "Weights")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  command.add_option("--repeats", options->repeats, "Timed runs")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  when_named(command, chosen, [options] { return run_kernels(*options); });
}

}  // namespace lapidary
