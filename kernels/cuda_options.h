#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace lapidary {

/// The GPUs that this program and host have between them.
struct CudaDevices {
  int count = 0;
  std::string why_none;  // where count is 0, half a sentence: "this program was built without CUDA (…)"
};
CudaDevices cuda_devices();

/// What attends the rows of a prefill on the GPU: warps, or warpgroups where the GPU has their products; or
/// whichever was faster in a trial before serving.
enum class PrefillMode { warps, warpgroups, measured };

struct CudaOptions {
  int device = 0;
  bool deterministic =
      true;  // sums as SumPlan says; else their partials become one, in an order of the library's
  bool early_start =
      true;  // kernels may start before the one in front has ended; off: to measure what it gains
  std::filesystem::path cache = {};  // folder where tune() keeps what it measured; empty: nowhere
  int share = 100;                   // percent of its multiprocessors that products and prefills should fill
  bool high_priority = false;        // its work goes before that of other backends of the device
  int64_t overlap_min_rows = 1024;   // Backend::overlap_min_rows
  PrefillMode prefill = PrefillMode::warps;
};
/// Throws a sentence where the device cannot be used. `threads` stays alive as long as the backend.
std::unique_ptr<Backend> make_cuda_backend(ThreadPool& threads, const CudaOptions& options);

}  // namespace lapidary
