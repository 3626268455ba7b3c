#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/bench/report.h"
#include "coordinator/cli/engine.h"
#include "worker/model/layers.h"

namespace lapidary {

struct KernelBench {
  EngineFlags flags;
  FigureFile figures;
  std::string dtype = "bfloat16";
  int repeats = 5;
  std::string only;  // "products" or "attention"; empty: both
};

/// Values in [-1, 1) that are cheap to make again.
inline float value_at(int64_t i) {
  return static_cast<float>(static_cast<int32_t>(static_cast<uint32_t>(i) * 2654435761u)) * 0x1p-31f;
}

struct KernelRun {
  std::unique_ptr<ThreadPool> threads;
  std::unique_ptr<Backend> backend;
  DType dtype;
  double flops = 0, read = 0;  // limits
  const KernelBench& bench;

  bool on_host() const { return backend->on_host(); }
};

/// Rows in the backend's memory and the dtype of its operands, element i being value_at(i + first).
Tensor numbers(const KernelRun& run, Workspace& space, int64_t rows, int64_t cols, int64_t first);
/// Row r, as float32 in the host's memory.
std::vector<float> fetched(const KernelRun& run, Tensor from, int64_t r);
/// A number as a weight or an operand of this run holds it.
float rounded(float value, DType dtype);

/// Seconds of `body`, which takes about as long as `operations` at the limit. A device is given many at once,
/// so that starting them does not count; on the host the median of single runs.
template <class Body>
double time_of(const KernelRun& run, double operations, int repeats, const Body& body) {
  if (run.on_host()) return median_seconds(repeats, body);
  const int burst = static_cast<int>(std::clamp(1e13 / operations, 3.0, 200.0));
  return median_seconds(repeats,
                        [&] {
                          for (int i = 0; i < burst; ++i) body();
                          run.backend->synchronize();
                        }) /
         burst;
}

/// Attention at the models' shapes, each checked first.
void bench_attentions(KernelRun& run);

}  // namespace lapidary
