#include <cmath>
#include <cstdio>
#include <numeric>

#include "configs/error.h"
#include "coordinator/cli/bench/kernels.h"
#include "worker/engine/device.h"

namespace lapidary {
namespace {

/// Row 0, head 0 by the definition, in double. bfloat16 rounds q, k, v, the probabilities and what comes out
/// by 2^-9 each.
void check_attention(const KernelRun& run, Tensor out, int64_t rows, int64_t width, int64_t kv_width,
                     int64_t head_dim, const AttentionArgs& args) {
  const auto q = [&](int64_t d) { return static_cast<double>(rounded(value_at(d), run.dtype)); };
  const auto k = [&](int64_t key, int64_t d) {
    return static_cast<double>(rounded(value_at(key * kv_width + d + 5), run.dtype));
  };
  std::vector<double> scores, expected(static_cast<size_t>(head_dim));
  for (int64_t key = 0; key < rows; ++key) {
    double score = 0;
    for (int64_t d = 0; d < head_dim; ++d) score += q(d) * k(key, d);
    score *= args.scale;
    scores.push_back(std::exp(args.softcap > 0 ? args.softcap * std::tanh(score / args.softcap) : score));
  }
  const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
  for (int64_t key = 0; key < rows; ++key)
    for (int64_t d = 0; d < head_dim; ++d)
      expected[static_cast<size_t>(d)] += scores[static_cast<size_t>(key)] / total * k(key, d);
  const std::vector<float> got = fetched(run, out, 0);
  for (size_t d = 0; d < expected.size(); ++d)
    if (std::abs(expected[d] - got[d]) > 5 * 0x1p-9)
      fail("the check failed: attention gives ", got[d], ", not ", expected[d], " (", width, " columns)");
}

/// A prefix of `rows` tokens that all see each other, as the decoder and the vision tower have it.
struct Prefix {
  const char* what;
  int64_t heads, group, head_dim, rows;
  float softcap;
  double goal;  // of a GPU, TFLOP/s; 0: none
};
constexpr Prefix kPrefixes[] = {
    {"vision 224", 16, 1, 72, 256, 0, 0},           {"vision 896", 16, 1, 72, 4096, 0, 0},
    {"3B prefill 224", 8, 2, 256, 272, 50, 0},      {"3B prefill 896", 8, 2, 256, 4112, 50, 0},
    {"28B prefill 896", 32, 2, 128, 4112, 50, 420},
};

/// `by`: the kernel, where there are two; best: it is the one that the goal is meant for.
void bench_attention(const KernelRun& run, const Prefix& prefix, const std::string& by, bool best) {
  Backend& ops = *run.backend;
  const int64_t rows = prefix.rows;
  const KvShape shape{prefix.heads / prefix.group, prefix.head_dim, run.dtype};
  std::vector<int32_t> pages(static_cast<size_t>((rows + KvShape::kPageTokens - 1) / KvShape::kPageTokens));
  std::iota(pages.begin(), pages.end(), 0);
  const Buffer kv = ops.allocate(pages.size() * ops.kv_page_bytes(shape));
  const int64_t width = prefix.heads * prefix.head_dim, kv_width = shape.kv_heads * prefix.head_dim;
  Workspace space(ops);
  const Tensor q = numbers(run, space, rows, width, 0), k = numbers(run, space, rows, kv_width, 5);
  const Tensor out = space.make(rows, width, ops.operands(run.dtype));
  const std::vector<AttentionSpan> spans{{0, rows, 0, rows, pages}};
  AttentionArgs args;
  args.heads = prefix.heads;
  args.group = prefix.group;
  args.scale = 1 / std::sqrt(static_cast<float>(prefix.head_dim));
  args.softcap = prefix.softcap;
  ops.reserve(rows, width);
  ops.reserve_attention({1, rows, static_cast<int64_t>(pages.size()), prefix.heads, prefix.head_dim});
  ops.store_kv(kv.get(), shape, spans, k, k);
  ops.attention(out, q, kv.get(), shape, spans, args);
  check_attention(run, out, rows, width, kv_width, prefix.head_dim, args);

  const double operations = 4.0 * static_cast<double>(rows * rows) * static_cast<double>(width);
  const double seconds = time_of(run, operations, run.bench.repeats,
                                 [&] { ops.attention(out, q, kv.get(), shape, spans, args); });
  const double share = operations / seconds / run.flops,
               goal = best && !run.on_host() ? prefix.goal * 1e12 / run.flops : 0;
  std::printf("%-20s %5lld %4lld %4lld %9.3f %9.1f %7.1f %%%s\n", prefix.what, static_cast<long long>(rows),
              static_cast<long long>(prefix.heads), static_cast<long long>(prefix.head_dim), seconds * 1e3,
              operations / seconds / 1e9, 100 * share, by.c_str());
  run.bench.figures.add({.what = cat("attention, ", prefix.what, ", head_dim ", prefix.head_dim, by),
                         .value = seconds * 1e3,
                         .unit = "ms",
                         .rate = operations / seconds / 1e9,
                         .limit = run.flops / 1e9,
                         .rate_unit = "GFLOP/s",
                         .limit_name = run.on_host() ? "register-only" : "library, 8192^3",
                         .share = share,
                         .goal = goal});
}

/// Null where the GPU has none.
std::unique_ptr<Backend> by_warpgroups(const KernelRun& run) {
  EngineOptions options = run.bench.flags.engine;
  options.prefill = PrefillMode::warpgroups;
  try {
    return make_backend(options, *run.threads);
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace

Tensor numbers(const KernelRun& run, Workspace& space, int64_t rows, int64_t cols, int64_t first) {
  const Tensor to = space.make(rows, cols, run.backend->operands(run.dtype));
  std::vector<float> wide(static_cast<size_t>(rows * cols));
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = value_at(static_cast<int64_t>(i) + first);
  if (to.dtype == DType::f32) {
    run.backend->copy(to, view(wide.data(), DType::f32, rows, cols));
    return to;
  }
  std::vector<uint16_t> half(wide.size());
  std::transform(wide.begin(), wide.end(), half.begin(), to_bf16);
  run.backend->copy(to, view(half.data(), DType::bf16, rows, cols));
  return to;
}

std::vector<float> fetched(const KernelRun& run, Tensor from, int64_t r) {
  std::vector<float> wide(static_cast<size_t>(from.cols()));
  if (from.dtype == DType::f32) {
    run.backend->copy(view(wide.data(), DType::f32, 1, from.cols()), from.row_range(r, r + 1));
    return wide;
  }
  std::vector<uint16_t> half(wide.size());
  run.backend->copy(view(half.data(), DType::bf16, 1, from.cols()), from.row_range(r, r + 1));
  std::transform(half.begin(), half.end(), wide.begin(), from_bf16);
  return wide;
}

float rounded(float value, DType dtype) { return dtype == DType::bf16 ? from_bf16(to_bf16(value)) : value; }

void bench_attentions(KernelRun& run) {
  std::printf("%-20s %5s %4s %4s %9s %9s %9s\n", "attention", "rows", "A", "D", "ms", "GFLOP/s", "of limit");
  std::unique_ptr<Backend> other = run.on_host() ? nullptr : by_warpgroups(run);
  for (const Prefix& prefix : kPrefixes) {
    bench_attention(run, prefix, other != nullptr ? ", by warps" : "", other == nullptr);
    if (other == nullptr) continue;
    std::swap(run.backend, other);
    bench_attention(run, prefix, ", by warpgroups", true);
    std::swap(run.backend, other);
  }
}

}  // namespace lapidary
